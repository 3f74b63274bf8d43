//! Forms of our pages that come back. Their fields are behind the check of the form's token, and so is acting for whoever
//! sent them: no handler can forget it.

use cairn_actors::secrets::password::Password;
use cairn_actors::services::{Caller, Repeat};

use super::{PageRequest, is_local};
use crate::access::csrf;
use crate::request;

/// Characters of a field that are kept; longer ones are nobody's address, code or name.
const LONGEST_FIELD: usize = 4_096;
/// Fields that are never shown again.
const SECRETS: [&str; 3] = ["password", "current_password", "new_password"];
/// Characters of the key by which a form that is sent twice acts once.
const LONGEST_KEY: usize = 64;

/// A form that came, after the check of its token.
pub(in crate::pages) enum Sent {
    /// It may act.
    Good(Box<Form>),
    /// It does nothing: its token is missing or another browser's, or too many forms come from there. The page is shown
    /// again with what was typed.
    HeldUp(Typed),
}

/// What was typed into a form, to be shown again. No secret is in it.
pub(in crate::pages) struct Typed(request::Form);

/// A form that this browser was given by us.
pub(in crate::pages) struct Form {
    typed: Typed,
    secrets: request::Form,
    caller: Caller,
    /// The route, and the browser's name; `None` for one that has no name yet.
    repeat: Option<(String, String)>,
}

impl Sent {
    /// Checks the token of a form.
    pub(super) fn check(request: &PageRequest, form: request::Form) -> Self {
        let environment = request.services().engine.environment();
        let holds = !request.is_limited() && csrf::holds(&environment, &request.browser, form.get(csrf::FIELD));
        let (secrets, typed) = form.parted(|name| SECRETS.contains(&name));
        let typed = Typed(typed);
        if !holds {
            return Self::HeldUp(typed);
        }
        let route = format!("{} {}", request.method(), request.route());
        let repeat = (!request.browser.is_new).then(|| (route, request.browser.id.clone()));
        Self::Good(Box::new(Form { typed, secrets, caller: request.caller(), repeat }))
    }

    /// What was typed, whether or not the form may act.
    pub(in crate::pages) fn typed(&self) -> &Typed {
        match self {
            Self::Good(form) => &form.typed,
            Self::HeldUp(typed) => typed,
        }
    }
}

impl Typed {
    /// A field, if it came.
    pub(in crate::pages) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)
    }

    /// A field as it is kept for the person, not endless; empty where it did not come.
    pub(in crate::pages) fn text(&self, name: &str) -> String {
        let value = self.0.get(name).unwrap_or_default();
        value.chars().filter(|character| *character != '\0').take(LONGEST_FIELD).collect()
    }

    /// Whether a box was checked.
    pub(in crate::pages) fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some()
    }

    /// Where the person wanted to go: a path of ours and nothing else.
    pub(in crate::pages) fn next(&self) -> String {
        self.0.get("next").filter(|next| is_local(next)).map(str::to_owned).unwrap_or_default()
    }
}

impl Form {
    /// What is not secret in it.
    pub(in crate::pages) fn typed(&self) -> &Typed {
        &self.typed
    }

    /// A password, if its field came.
    pub(in crate::pages) fn secret(&self, name: &str) -> Option<&str> {
        self.secrets.get(name)
    }

    /// A password; an empty one where its field did not come.
    pub(in crate::pages) fn password(&self, name: &str) -> Password {
        Password::typed(self.secret(name).unwrap_or_default().to_owned())
    }

    /// Who asks.
    pub(in crate::pages) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Who asks, with a key by which a form that is sent twice acts once. The browser's name is part of it.
    pub(in crate::pages) fn caller_once(&self, key: &str) -> Caller {
        let repeat = self.repeat.as_ref().filter(|_| !key.is_empty()).map(|(route, browser)| {
            let key = key.chars().take(LONGEST_KEY).collect::<String>();
            Repeat { route: route.clone(), key: format!("{browser} {key}") }
        });
        Caller { repeat, ..self.caller.clone() }
    }
}
