//! `/verify-email`: the plain page behind the link of a letter, used as a browser without scripts would.

use crate::support::client::encoded;
use crate::support::{App, Person};

on_both_databases!(the_link_opens_a_page_whose_form_works, a_bad_link_is_told_kindly);

/// The value of an attribute in a tag of the page.
fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    tag.split(&format!(" {name}=\"")).nth(1)?.split('"').next()
}

fn tags<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    page.split(&format!("<{name}")).skip(1).filter_map(|rest| rest.split('>').next()).collect()
}

async fn the_link_opens_a_page_whose_form_works(app: &App) {
    let person = Person::new("browser");
    let flow = person.registers(app).await;
    let link = person.verification(app).await.link().unwrap();
    let target = link.strip_prefix(&app.public_url()).expect("the link leads to this server");
    // Mail scanners open links: opening alone must change nothing.
    for _ in 0..2 {
        let page = app.client().get(target).header("accept", "text/html").send().await;
        assert_eq!(page.status, 200, "{page}");
        assert!(page.header("content-type").unwrap().starts_with("text/html"), "{page}");
        assert_eq!(page.header("cache-control"), Some("no-store"), "{page}");
        assert_eq!(page.header("referrer-policy"), Some("no-referrer"), "the link must not leak: {page}");
        assert!(page.header("content-security-policy").is_some(), "{page}");
    }
    let status = app.client().get(&format!("/auth/register/{flow}")).send().await.expect(200);
    assert_eq!(status["flow"]["phase"], "awaiting_code", "{status}");

    let page = app.client().get(target).header("accept", "text/html").send().await;
    let html = page.text();
    let form = tags(&html, "form").into_iter().next().expect("a form");
    assert!(attribute(form, "method").is_some_and(|method| method.eq_ignore_ascii_case("post")), "{form}");
    let action = attribute(form, "action").map_or(target, |action| if action.is_empty() { target } else { action });
    let action = action.replace("&amp;", "&");
    let cookies: Vec<String> = page
        .headers
        .get_all("set-cookie")
        .iter()
        .filter_map(|value| value.to_str().ok()?.split(';').next().map(str::to_owned))
        .collect();
    let submit = async |password: &str| {
        let fields = tags(&html, "input").into_iter().filter_map(|input| {
            let name = attribute(input, "name")?;
            let typed = attribute(input, "type") == Some("password");
            let value = if typed { password } else { attribute(input, "value").unwrap_or_default() };
            Some(format!("{}={}", encoded(name), encoded(value)))
        });
        let body = fields.collect::<Vec<_>>().join("&");
        let mut request =
            app.client().request("POST", &action).header("content-type", "application/x-www-form-urlencoded");
        request = request
            .header("accept", "text/html")
            .header("origin", &app.public_url())
            .header("sec-fetch-site", "same-origin");
        if !cookies.is_empty() {
            request = request.header("cookie", &cookies.join("; "));
        }
        request.body(body).send().await
    };
    let wrong = submit("not the velvet umbrella").await;
    assert!(wrong.header("content-type").is_some_and(|kind| kind.starts_with("text/html")), "{wrong}");
    assert!(wrong.status == 200 || (400..500).contains(&wrong.status), "{wrong}");
    app.client().post("/auth/login", &person.credentials()).send().await.problem(401, "credentials");
    let right = submit(&person.password).await;
    assert!([200, 302, 303].contains(&right.status), "{right}");
    person.signs_in(app).await;
}

async fn a_bad_link_is_told_kindly(app: &App) {
    for target in
        ["/verify-email?token=garbage", "/verify-email", "/verify-email?token=%00%ff", "/verify-email?token=<script>"]
    {
        let request =
            if target.contains('<') { target.replace('<', "%3C").replace('>', "%3E") } else { target.to_owned() };
        let page = app.client().get(&request).header("accept", "text/html").send().await;
        assert!(page.status < 500, "{page}");
        assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/html")), "{page}");
        assert!(!page.text().contains("<script>"), "{page}");
    }
}
