//! The page of routes lists every line of every table, so that a change of access or limit is seen where it is read.

use std::fs;

use cairn_http::{Access, Body, RouteSpec, api, oauth, openapi, operations, pages, well_known};

use super::{read, root};

/// The tables in their order on the page.
fn tables() -> [(&'static str, Vec<&'static RouteSpec>); 6] {
    [
        ("The interface", api::specs().collect()),
        ("Well-known paths", well_known::specs().collect()),
        ("The provider", oauth::specs().collect()),
        ("The document of the interface", openapi::specs().collect()),
        ("Pages", pages::specs().collect()),
        ("Operations", operations::specs().collect()),
    ]
}

fn access(access: Access) -> &'static str {
    match access {
        Access::Open => "anybody",
        Access::OwnForm => "a form of our own pages",
        Access::Loopback => "loopback",
        Access::Client => "client",
        Access::Token => "any access token",
        Access::Bearer => "bearer",
        Access::FreshBearer => "fresh bearer",
        Access::BearerOrRepeat => "bearer, or its repeat",
        Access::Session => "session cookie",
        Access::SessionForm => "session cookie, own form",
        Access::SessionFormOrRepeat => "session cookie, own form, or its repeat",
    }
}

fn row(spec: &RouteSpec) -> String {
    let body = match spec.body {
        Body::None => "",
        Body::NoMembers => "`{}`",
        Body::Json(_) => "JSON",
        Body::Form => "form",
        Body::Any => "any",
    };
    let bucket = spec.bucket.unwrap_or_default();
    let path = format!("`{}`", spec.path);
    let cells = [spec.method.as_str(), &path, access(spec.access), body, bucket];
    format!("|{}|", cells.map(|cell| if cell.is_empty() { " ".to_owned() } else { format!(" {cell} ") }).join("|"))
}

#[test]
fn every_route_is_listed_as_its_table_says() {
    let head = "| method | path | for whom | body | bucket |\n|---|---|---|---|---|\n";
    let listed: Vec<String> = tables()
        .iter()
        .map(|(title, lines)| {
            let rows: Vec<String> = lines.iter().map(|spec| row(spec)).collect();
            format!("## {title}\n\n{head}{}\n", rows.join("\n"))
        })
        .collect();
    let listed = listed.join("\n");
    let page = read("docs/routes.md");
    let kept = page.find("## ").map_or("", |from| &page[from..]);
    assert_eq!(kept, listed, "docs/routes.md does not say what the tables say");
}

#[test]
fn no_table_is_forgotten() {
    let mut found = 0;
    let mut open = vec![root().join("http/src")];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(path).unwrap();
                found += text.lines().filter(|spec| spec.trim_start().starts_with("static ROUTES:")).count();
            }
        }
    }
    assert_eq!(found, tables().len(), "a table that the tests of all routes do not know");
}
