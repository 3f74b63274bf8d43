//! The tables of docs/configuration.md, made from the settings' descriptions.

use std::path::Path;

use super::settings::{GROUPS, Group, Setting};

const HEAD: &str = "| variable | key | takes | unset | meaning |";

fn row(setting: &Setting) -> String {
    let (key, variable) = (setting.key, setting.variable());
    let names = if setting.is_secret {
        format!("`{variable}`, or `{variable}_FILE` | `{key}`, or `{key}_file`")
    } else {
        format!("`{variable}` | `{key}`")
    };
    let unset = setting.default.filter(|default| !default.is_empty());
    let unset = unset.map_or(" ".to_owned(), |default| format!(" `{default}` "));
    let meaning: Vec<&str> = setting.meaning.iter().map(|line| line.trim()).collect();
    format!("| {names} | {} |{unset}| {} |", (setting.takes)(), meaning.join(" "))
}

fn table(group: &Group) -> String {
    let rows: Vec<String> = group.settings.iter().map(row).collect();
    format!("{HEAD}\n|---|---|---|---|---|\n{}\n", rows.join("\n"))
}

/// The page with its tables written anew. The first table of a section is that of its group.
fn written(page: &str) -> String {
    let mut out = page.to_owned();
    for group in GROUPS {
        let title = group.title.trim();
        let heading = format!("\n## {title}\n");
        let section = out.find(&heading).unwrap_or_else(|| panic!("the page has no section {title}")) + heading.len();
        let end = out[section..].find("\n## ").map_or(out.len(), |length| section + length + 1);
        let start = out[section..end].find("| variable |").map(|length| section + length);
        let start = start.unwrap_or_else(|| panic!("the section {title} has no table of settings"));
        let length: usize =
            out[start..end].split_inclusive('\n').take_while(|line| line.starts_with('|')).map(str::len).sum();
        out.replace_range(start..start + length, &table(group));
    }
    out
}

#[test]
fn the_page_of_settings_says_what_the_reader_reads() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let today = written(&page);
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::write(&path, today).unwrap();
        return;
    }
    for (page, today) in page.lines().zip(today.lines()) {
        assert_eq!(page, today, "UPDATE_GOLDENS=1 writes the tables of docs/configuration.md anew");
    }
    assert_eq!(page.lines().count(), today.lines().count(), "UPDATE_GOLDENS=1 writes docs/configuration.md anew");
    let tables = page.lines().filter(|line| line.starts_with("| variable |")).count();
    assert_eq!(tables, GROUPS.len(), "a table of the page belongs to no group");
}

#[test]
fn a_table_that_says_something_else_is_written_anew_and_the_rest_is_left() {
    let sections = GROUPS.iter().map(|group| {
        format!(
            "\n## {}\n\nBefore.\n\n| variable | of old |\n|---|---|\n| x | y |\n\n| another | table |\n",
            group.title.trim()
        )
    });
    let out = written(&format!("# Settings\n{}", sections.collect::<String>()));
    assert!(!out.contains("of old") && !out.contains("| x | y |"), "{out}");
    assert_eq!(out.matches("| another | table |").count(), GROUPS.len());
    assert_eq!(out.matches("Before.").count(), GROUPS.len());
    assert!(out.contains(
        "| `CAIRN_ACCESS_TTL` | `access_ttl` | a duration of more than nothing, such as 90, 10m or 24h | `300` |"
    ));
    assert!(
        out.contains("| `DATABASE_URL`, or `DATABASE_URL_FILE` | `database_url`, or `database_url_file` | a text | | ")
    );
    assert_eq!(written(&out), out);
}
