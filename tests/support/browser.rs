//! A browser without scripts: it keeps cookies, fills forms in as they stand on the page, and follows where it is sent.

use std::collections::BTreeMap;

use super::app::App;
use super::client::{Answer, Request, encoded};

/// Where the clients of the tests are, to which the provider sends browsers back.
pub const CLIENT: &str = "https://client.example/";

/// One browser of one person.
#[derive(Clone, Debug, Default)]
pub struct Browser {
    cookies: BTreeMap<String, String>,
}

/// A page as it came, and where.
#[derive(Clone, Debug)]
pub struct Page {
    pub url: String,
    pub status: u16,
    pub html: String,
    pub answer: Answer,
}

/// A form of a page, to be filled in.
#[derive(Clone, Debug)]
pub struct Form {
    pub action: String,
    pub fields: Vec<(String, String)>,
}

impl Browser {
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of a cookie, by its name with or without the port.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let named = self.cookies.iter().find(|(known, _)| {
            let port = known.strip_prefix(name).map(|rest| rest.strip_prefix('_').unwrap_or(rest));
            port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
        });
        named.map(|(_, value)| value.as_str())
    }

    pub fn set_cookie(&mut self, name: &str, value: &str) {
        self.cookies.insert(name.to_owned(), value.to_owned());
    }

    /// The line that it sends its cookies in.
    pub fn header(&self) -> String {
        self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    fn keep(&mut self, answer: &Answer) {
        for line in answer.headers.get_all("set-cookie") {
            let line = line.to_str().unwrap();
            let mut parts = line.split(';').map(str::trim);
            let (name, value) = parts.next().unwrap().split_once('=').unwrap();
            let gone = parts.any(|part| part.eq_ignore_ascii_case("max-age=0"));
            if gone {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// Opens a path or one of the server's own URLs and follows redirects.
    pub async fn open(&mut self, app: &App, target: &str) -> Page {
        let target = target.strip_prefix(&app.public_url()).unwrap_or(target).to_owned();
        let mut request = app.client().get(&target).header("accept", "text/html");
        request = request.header("sec-fetch-site", "none");
        if !self.cookies.is_empty() {
            request = request.header("cookie", &self.header());
        }
        let answer = request.send().await;
        self.follow(app, target, answer).await
    }

    /// Sends a form as it was filled in and follows redirects.
    pub async fn send(&mut self, app: &App, form: &Form) -> Page {
        let answer = self.post(app, form).await;
        self.follow(app, form.action.clone(), answer).await
    }

    /// Sends a form and gives the answer itself.
    pub async fn post(&mut self, app: &App, form: &Form) -> Answer {
        let answer = self.filled(app, form).send().await;
        self.keep(&answer);
        answer
    }

    /// The request that sends a form, with the cookies of this browser.
    pub fn filled(&self, app: &App, form: &Form) -> Request {
        let body: Vec<String> =
            form.fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        let mut request = app
            .client()
            .request("POST", &form.action)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "text/html")
            .header("origin", "null")
            .header("sec-fetch-site", "same-origin");
        if !self.cookies.is_empty() {
            request = request.header("cookie", &self.header());
        }
        request.body(body.join("&"))
    }

    async fn follow(&mut self, app: &App, mut url: String, mut answer: Answer) -> Page {
        self.keep(&answer);
        for _ in 0..8 {
            let Some(location) = answer.header("location").filter(|_| answer.status == 303) else {
                let (status, html) = (answer.status, answer.text());
                return Page { url, status, html, answer };
            };
            if location.starts_with(CLIENT) {
                // Back at a client of the provider, which is nobody here.
                let url = location.to_owned();
                return Page { url, status: answer.status, html: String::new(), answer };
            }
            assert!(location.starts_with('/') && !location.starts_with("//"), "a redirect out of the house: {answer}");
            url = location.to_owned();
            let mut request = app.client().get(&url).header("accept", "text/html");
            if !self.cookies.is_empty() {
                request = request.header("cookie", &self.header());
            }
            answer = request.send().await;
            self.keep(&answer);
        }
        panic!("redirects without an end, at last to {url}");
    }
}

impl Page {
    /// The text of the title.
    pub fn title(&self) -> String {
        let title = self.html.split("<title>").nth(1).and_then(|rest| rest.split("</title>").next());
        unescaped(title.unwrap_or_else(|| panic!("no title: {}", self.answer)))
    }

    /// Holds the page to a status and to a text that stands on it.
    #[track_caller]
    pub fn says(&self, status: u16, text: &str) -> &Self {
        assert_eq!(self.status, status, "{} {}", self.url, self.answer);
        assert!(unescaped(&self.html).contains(text), "{} does not say {text:?}: {}", self.url, self.html);
        self
    }

    #[track_caller]
    pub fn says_not(&self, text: &str) -> &Self {
        assert!(!unescaped(&self.html).contains(text), "{} says {text:?}: {}", self.url, self.html);
        self
    }

    /// A parameter of the address at which the browser is.
    #[track_caller]
    pub fn parameter(&self, name: &str) -> String {
        let found = self.parameters().into_iter().find(|(known, _)| known == name);
        found.unwrap_or_else(|| panic!("no {name} at {}: {}", self.url, self.answer)).1
    }

    /// All parameters of the address at which the browser is.
    pub fn parameters(&self) -> Vec<(String, String)> {
        let query = self.url.split_once('?').map(|(_, query)| query).unwrap_or_default();
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, value)| (decoded(name), decoded(value))).collect()
    }

    pub fn has_form(&self, id: &str) -> bool {
        self.html.contains(&format!(" id=\"{id}\""))
    }

    /// The form with this id, with what stands in it.
    #[track_caller]
    pub fn form(&self, id: &str) -> Form {
        let form = self
            .html
            .split("<form ")
            .skip(1)
            .find(|rest| rest.split('>').next().is_some_and(|tag| attribute(tag, "id") == Some(id)));
        let form = form.unwrap_or_else(|| panic!("no form {id} at {}: {}", self.url, self.html));
        let form = form.split("</form>").next().unwrap();
        let tag = form.split('>').next().unwrap();
        assert_eq!(attribute(tag, "method"), Some("post"), "{tag}");
        let fields = form.split("<input ").skip(1).filter_map(|rest| {
            let tag = rest.split('>').next().unwrap();
            let box_left_empty = attribute(tag, "type") == Some("checkbox") && !tag.contains(" checked");
            let name = attribute(tag, "name").filter(|_| !box_left_empty)?;
            Some((unescaped(name), unescaped(attribute(tag, "value").unwrap_or_default())))
        });
        Form { action: unescaped(attribute(tag, "action").unwrap()), fields: fields.collect() }
    }

    /// The target of the button or link with this text.
    #[track_caller]
    pub fn link(&self, text: &str) -> String {
        let anchor = self.html.split("<a ").skip(1).find(|rest| {
            rest.split_once('>').and_then(|(_, inside)| inside.split("</a>").next()).map(unescaped).as_deref()
                == Some(text)
        });
        let anchor = anchor.unwrap_or_else(|| panic!("no link {text:?} at {}: {}", self.url, self.html));
        unescaped(attribute(anchor.split('>').next().unwrap(), "href").unwrap())
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next(), rest.next()].map(|digit| char::from(digit.unwrap()).to_digit(16).unwrap());
            bytes.push(u8::try_from(digits[0] * 16 + digits[1]).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}

impl Form {
    /// Presses the button that says so.
    #[must_use]
    pub fn pressed(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Puts a value into a field; what is there already is replaced.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        match self.fields.iter_mut().find(|(known, _)| known == name) {
            Some((_, there)) => value.clone_into(there),
            None => self.fields.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(known, _)| known != name);
        self
    }

    /// What stands in a field.
    #[track_caller]
    pub fn value(&self, name: &str) -> &str {
        let field = self.fields.iter().find(|(known, _)| known == name);
        field.map_or_else(|| panic!("no field {name} in {self:?}"), |(_, value)| value)
    }
}

/// The value of an attribute in a tag.
fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let spaced = format!(" {tag}");
    let place = spaced.find(&format!(" {name}=\""))?;
    let rest = tag.get(place + name.len() + 2..)?;
    rest.split('"').next()
}

fn unescaped(text: &str) -> String {
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
    text.replace("&amp;", "&")
}

#[test]
fn a_form_is_read_as_it_stands() {
    let html = "<form method=\"post\" action=\"/a?b=1&amp;c\" id=\"f\"><input type=\"hidden\" name=\"x\" value=\"&lt;&#39;\">\
                <input type=\"checkbox\" id=\"y\" name=\"y\" value=\"yes\"><input id=\"z\" name=\"z\"></form>";
    let answer =
        Answer { asked: String::new(), status: 200, headers: http::HeaderMap::new(), body: bytes::Bytes::new() };
    let page = Page { url: "/".to_owned(), status: 200, html: html.to_owned(), answer };
    let form = page.form("f").with("z", "typed");
    assert_eq!(form.action, "/a?b=1&c");
    assert_eq!(form.fields, [("x".to_owned(), "<'".to_owned()), ("z".to_owned(), "typed".to_owned())]);
}
