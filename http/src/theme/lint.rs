//! What an operator's own pages lack though they can be drawn: a form that is gone or sends too little, something inline
//! that the policy forbids, a colour that nobody can read.

use std::collections::BTreeSet;

use super::Theme;
use super::colour::faint;
use super::fixtures;

/// A form as it would be sent.
#[derive(Debug, PartialEq, Eq)]
struct Form {
    action: String,
    posts: bool,
    /// The names of all its fields.
    names: BTreeSet<String>,
    /// The names of those that it is nothing without.
    needed: BTreeSet<String>,
}

/// Everything doubtful, each in a sentence.
pub(super) fn warnings(theme: &Theme, ours: &Theme) -> Vec<String> {
    let mut found = Vec::new();
    for (name, theirs, ours) in fixtures::drawn(theme).zip(fixtures::drawn(ours)).filter_map(|(theirs, ours)| {
        let ((name, theirs), (_, ours)) = (theirs.ok()?, ours.ok()?);
        Some((name, theirs, ours))
    }) {
        found
            .extend(of_forms(&forms(&theirs), &forms(&ours)).into_iter().map(|what| format!("the page {name} {what}")));
        found.extend(
            inline(&theirs).map(|what| format!("the page {name} has {what}, which the policy of all pages forbids")),
        );
    }
    found.extend(faint(theme.assets.stylesheet()).into_iter().map(|what| format!("the stylesheet: {what}")));
    let mut seen = BTreeSet::new();
    found.retain(|what| seen.insert(what.clone()));
    found
}

fn of_forms(theirs: &[Form], ours: &[Form]) -> Vec<String> {
    let lacks = |ours: &Form| {
        let Some(form) = theirs.iter().find(|form| form.action == ours.action && form.posts) else {
            return vec![format!("has no form that posts to {}", ours.action)];
        };
        let missing = ours.needed.difference(&form.names);
        missing.map(|name| format!("sends no {name} with its form to {}", ours.action)).collect()
    };
    ours.iter().flat_map(lacks).collect()
}

fn forms(page: &str) -> Vec<Form> {
    let mut found: Vec<Form> = Vec::new();
    let mut open = false;
    for (tag, attributes) in tags(page) {
        let of = |name: &str| attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        match tag.as_str() {
            "form" => {
                let posts = of("method").is_some_and(|method| method.eq_ignore_ascii_case("post"));
                let action = of("action").unwrap_or_default().to_owned();
                found.push(Form { action, posts, names: BTreeSet::new(), needed: BTreeSet::new() });
                open = true;
            }
            "/form" => open = false,
            "input" | "button" | "select" | "textarea" => {
                let (Some(name), Some(form)) = (of("name"), found.last_mut().filter(|_| open)) else { continue };
                form.names.insert(name.to_owned());
                if of("required").is_some() || of("type") == Some("hidden") {
                    form.needed.insert(name.to_owned());
                }
            }
            _ => {}
        }
    }
    found
}

fn inline(page: &str) -> impl Iterator<Item = String> {
    tags(page).into_iter().filter_map(|(tag, attributes)| {
        let has = |name: &str| attributes.iter().any(|(known, _)| known == name);
        match tag.as_str() {
            "style" => Some("a style of its own".to_owned()),
            "script" if !has("src") => Some("a script of its own".to_owned()),
            _ => attributes
                .iter()
                .find(|(name, _)| name == "style" || name.starts_with("on"))
                .map(|(name, _)| format!("an attribute {name}")),
        }
    })
}

type Attributes = Vec<(String, String)>;

/// The tags of a page in their order, with their attributes. What browsers mend is not mended.
fn tags(page: &str) -> Vec<(String, Attributes)> {
    let mut found = Vec::new();
    let mut rest = page;
    while let Some((_, behind)) = rest.split_once('<') {
        rest = behind;
        if let Some(comment) = rest.strip_prefix("!--") {
            rest = comment.split_once("-->").map_or("", |(_, behind)| behind);
            continue;
        }
        let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '/').collect();
        rest = rest.get(name.len()..).unwrap_or_default();
        let mut attributes = Vec::new();
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
            if rest.is_empty() || rest.starts_with('>') {
                break;
            }
            let (attribute, behind) = attribute(rest);
            attributes.push(attribute);
            rest = behind;
        }
        found.push((name.to_ascii_lowercase(), attributes));
    }
    found
}

/// One attribute, and what stands behind it.
fn attribute(text: &str) -> ((String, String), &str) {
    let ends = |c: char| c.is_ascii_whitespace() || c == '>';
    // At least one character, or nothing would ever end here.
    let length = text.char_indices().skip(1).find(|(_, c)| ends(*c) || *c == '=').map_or(text.len(), |(at, _)| at);
    let (name, rest) = text.split_at(length);
    let name = name.to_ascii_lowercase();
    let Some(value) = rest.trim_start().strip_prefix('=').map(str::trim_start) else {
        return ((name, String::new()), rest);
    };
    let quote = value.chars().next().filter(|c| *c == '"' || *c == '\'');
    let (value, rest) = match quote {
        Some(quote) => value.get(1..).and_then(|value| value.split_once(quote)).unwrap_or((value, "")),
        None => value.split_at(value.find(ends).unwrap_or(value.len())),
    };
    ((name, value.to_owned()), rest)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop where it stands")]

    use std::fs;

    use cairn_actors::testing::folder::Folder;
    use proptest::prelude::*;

    use super::super::{Brand, Theme};
    use super::*;

    /// The warnings about our theme with one file in the place of ours.
    fn with(name: &str, change: impl FnOnce(&str) -> String) -> Vec<String> {
        let folder = Folder::new("lint");
        let ours = fs::read_to_string(format!("{}/src/templates/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        folder.file(name, change(&ours), 0o600);
        Theme::read(Brand::default(), Some(folder.path())).unwrap().warnings()
    }

    #[test]
    fn ours_are_beyond_doubt_and_so_is_what_says_the_same_otherwise() {
        assert_eq!(Theme::read(Brand::default(), None).unwrap().warnings(), [] as [&str; 0]);
        assert_eq!(
            with("login/form.html", |ours| ours.replace("<form method=\"post\"", "<FORM METHOD='POST'")),
            [] as [&str; 0]
        );
        let shorter = with("register/form.html", |ours| {
            ours.lines()
                .filter(|line| !line.contains("first_name") && !line.contains("last_name"))
                .collect::<Vec<_>>()
                .join("\n")
        });
        assert_eq!(shorter, [] as [&str; 0], "what is not required may be left out");
    }

    #[test]
    fn what_is_missing_or_forbidden_is_named() {
        let without = |what: &'static str| {
            move |ours: &str| {
                assert!(ours.contains(what), "{what} is not ours any more");
                ours.replace(what, "")
            }
        };
        assert_eq!(
            with("login/form.html", without("{{- token(form_token) }}")),
            ["the page login/form sends no form_token with its form to /login"]
        );
        assert_eq!(
            with("forgot_password/form.html", |_| {
                "{% extends \"layout.html\" %}{% block main %}<h1>Ours</h1>{% endblock %}".to_owned()
            }),
            ["the page forgot_password/form has no form that posts to /forgot-password"]
        );
        let said = with("login/form.html", |ours| {
            ours.replace("<h1>", "<style>h1 { color: red }</style><h1 onclick=\"x()\">")
        });
        assert!(
            said[0].contains("login/form has a style of its own") && said[1].contains("attribute onclick"),
            "{said:?}"
        );
        let said = with("cairn.css", |ours| format!("{ours}\n:root {{ --accent: #ffcc00; }}"));
        assert!(said.len() == 2 && said[0].contains("#ffcc00") && said[0].contains("1.5"), "{said:?}");
    }

    proptest! {
        #[test]
        fn no_page_is_too_odd_to_be_looked_at(page in "(<|>|=|\"|'|/|!--|-->|form|input| |name|é|\\PC){0,60}") {
            let _ = (forms(&page), inline(&page).count());
        }
    }
}
