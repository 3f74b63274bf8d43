//! One page before it is drawn: its template, its words, what is placed in it and what is wrong.

use std::collections::BTreeMap;

use cairn_actors::services::Refusal;
use cairn_runtime::Timestamp;
use http::StatusCode;
use minijinja::Value;
use minijinja::value::Serde;
use serde::Serialize;

use super::Theme;
use super::words::{Texts, fill};

/// Something wrong with what was sent: beside a field, or with the whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Wrong {
    /// The field's id, which is its name too.
    pub(crate) field: Option<&'static str>,
    /// What to do.
    pub(crate) text: String,
}

/// A page in the making.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) template: &'static str,
    /// The name of its words.
    pub(crate) words: &'static str,
    pub(crate) status: StatusCode,
    said: Vec<(&'static str, String)>,
    placed: BTreeMap<&'static str, Value>,
    errors: Vec<Wrong>,
}

impl Page {
    /// A page of a template and of the words of the same name without its ending.
    pub(crate) fn new(template: &'static str) -> Self {
        let words = template.strip_suffix(".html").unwrap_or(template);
        let bare = Self {
            template,
            words,
            status: StatusCode::OK,
            said: Vec::new(),
            placed: BTreeMap::new(),
            errors: Vec::new(),
        };
        bare.note(None)
    }

    /// A page that says one thing and leads on to `lead`.
    pub(crate) fn message(words: &'static str, lead: &str) -> Self {
        let nothing = Value::from(());
        Self { words, ..Self::new("message.html") }
            .put("lead", lead)
            .put("second", nothing.clone())
            .put("leave", nothing)
    }

    /// A page with one button that takes a link of a letter.
    pub(crate) fn button(words: &'static str, action: &'static str, form_id: &'static str, token: &str) -> Self {
        Self { words, ..Self::new("confirm.html") }
            .put("action", action)
            .put("form_id", form_id)
            .put("link_token", token)
            .put("next", "")
            .put("danger", false)
            .put("second", "/login")
    }

    /// Another template's page in these words.
    pub(crate) fn in_words(mut self, words: &'static str) -> Self {
        self.words = words;
        self
    }

    /// Fills a place in the words.
    pub(crate) fn say(mut self, place: &'static str, value: impl Into<String>) -> Self {
        self.said.push((place, value.into()));
        self
    }

    /// Gives the template a value.
    pub(crate) fn put(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.placed.insert(name, value.into());
        self
    }

    /// Says something above the form that is not an error.
    pub(crate) fn note(self, text: Option<String>) -> Self {
        self.put("note_text", text.map_or(Value::from(()), Value::from))
    }

    /// The status it is answered with.
    pub(crate) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Says what is wrong; a page that was good is a 422 with it.
    pub(crate) fn wrong(mut self, errors: Vec<Wrong>) -> Self {
        if !errors.is_empty() && self.status == StatusCode::OK {
            self.status = StatusCode::UNPROCESSABLE_ENTITY;
        }
        self.errors = errors;
        self
    }

    /// Whether it says that something is wrong.
    pub(crate) fn is_wrong(&self) -> bool {
        !self.errors.is_empty()
    }

    /// Draws it.
    ///
    /// # Errors
    /// The template's, when a name is missing.
    pub(crate) fn draw(&self, theme: &Theme, form_token: &str) -> Result<String, minijinja::Error> {
        let missing =
            || minijinja::Error::new(minijinja::ErrorKind::TemplateNotFound, format!("no words for {}", self.words));
        let texts = theme.words.pages.get(self.words).ok_or_else(missing)?;
        let brand = theme.brand.name.as_str();
        let places: Vec<(&str, &str)> = std::iter::once(("brand", brand))
            .chain(self.said.iter().map(|(place, value)| (*place, value.as_str())))
            .collect();
        let filled =
            |texts: &Texts| -> Texts { texts.iter().map(|(name, text)| (name.clone(), fill(text, &places))).collect() };
        let given = Given {
            lang: &theme.words.language,
            words: filled(texts),
            shared: filled(&theme.words.shared),
            brand: BrandGiven { name: brand, logo: theme.assets.logo_url() },
            assets: AssetsGiven { css: theme.assets.css_url(), js: theme.assets.js_url() },
            errors: &self.errors,
            form_token,
            placed: &self.placed,
        };
        theme.environment.get_template(self.template)?.render(Value::from(Serde(given)))
    }
}

#[derive(Serialize)]
struct BrandGiven<'a> {
    name: &'a str,
    logo: Option<String>,
}

#[derive(Serialize)]
struct AssetsGiven {
    css: String,
    js: String,
}

#[derive(Serialize)]
struct Given<'a> {
    lang: &'a str,
    words: Texts,
    shared: Texts,
    brand: BrandGiven<'a>,
    assets: AssetsGiven,
    errors: &'a [Wrong],
    form_token: &'a str,
    #[serde(flatten)]
    placed: &'a BTreeMap<&'static str, Value>,
}

/// Fields of forms by the members of the services' values. They are called the same.
fn field(pointer: &str) -> Option<&'static str> {
    const FIELDS: [&str; 9] = [
        "email",
        "password",
        "username",
        "first_name",
        "last_name",
        "code",
        "new_password",
        "new_email",
        "current_password",
    ];
    FIELDS.into_iter().find(|name| pointer.strip_prefix('/') == Some(name))
}

/// What a refusal says on a page, where it is one that the person can do something about there.
pub(crate) fn wrongs(theme: &Theme, refusal: &Refusal, now: Timestamp) -> Option<Vec<Wrong>> {
    let texts = &theme.words.errors;
    let say = |code: &str, places: &[(&str, &str)]| texts.get(code).map(|text| fill(text, places)).unwrap_or_default();
    let whole = |text: String| vec![Wrong { field: None, text }];
    Some(match refusal {
        Refusal::Values(values) => values
            .iter()
            .map(|value| {
                let by_field = format!("{}.{}", value.pointer.trim_start_matches('/'), value.code);
                let text = texts.get(&by_field).or_else(|| texts.get(value.code));
                let text = text.cloned().unwrap_or_else(|| sentence(&value.detail));
                Wrong { field: field(value.pointer), text }
            })
            .collect(),
        Refusal::WrongCode { tries_left } => {
            let code = match tries_left {
                0 => "wrong_code.last",
                1 => "wrong_code.one",
                _ => "wrong_code",
            };
            vec![Wrong { field: Some("code"), text: say(code, &[("tries", &tries_left.to_string())]) }]
        }
        Refusal::Credentials => vec![Wrong { field: Some("password"), text: say("password", &[]) }],
        Refusal::UsernameTaken => vec![Wrong { field: Some("username"), text: say("username_taken", &[]) }],
        Refusal::AddressTaken => whole(say("address_taken", &[])),
        Refusal::SlowDown(until) => whole(say("slow_down", &[("time", &theme.words.instant(*until, now))])),
        Refusal::Changed => whole(say("changed", &[])),
        Refusal::FlowEnded(_) => whole(say("over", &[])),
        _ => return None,
    })
}

/// A text of a service as a sentence: with a capital and a full stop.
fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let mut out: String = characters.next().map(|first| first.to_uppercase().collect()).unwrap_or_default();
    out.push_str(characters.as_str());
    if !out.ends_with(['.', '!', '?']) {
        out.push('.');
    }
    out
}
