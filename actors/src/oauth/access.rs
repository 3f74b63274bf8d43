//! Access: for what and for whom a token is good. A request for a token may narrow what was granted and never widen it
//! (RFC 6749 section 6, RFC 8707 section 2.2).

use serde::{Deserialize, Serialize};

use super::scope::Scope;
use super::uri::AbsoluteUri;

/// What a person granted, or a part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// For what.
    pub scope: Scope,
    /// At which resource servers; empty: at our own endpoints only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resource: Vec<AbsoluteUri>,
}

/// What a request for a token asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// The parameter `scope`; `None`: all that was granted.
    pub scope: Option<Scope>,
    /// The parameters `resource`; none: all that were granted.
    pub resource: Vec<AbsoluteUri>,
}

/// A request for more than was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum TooWide {
    /// `invalid_scope` (RFC 6749 section 5.2).
    #[error("a scope was asked for that was not granted")]
    Scope,
    /// `invalid_target` (RFC 8707 section 2).
    #[error("a resource was asked for that was not granted")]
    Resource,
}

impl Access {
    /// The part of this that a request asks for.
    ///
    /// # Errors
    /// In which way it asks for more.
    pub fn narrowed(&self, wish: &Wish) -> Result<Self, TooWide> {
        let scope = wish.scope.as_ref().unwrap_or(&self.scope);
        if !scope.is_within(&self.scope) {
            return Err(TooWide::Scope);
        }
        if !wish.resource.iter().all(|resource| self.resource.contains(resource)) {
            return Err(TooWide::Resource);
        }
        let resource = if wish.resource.is_empty() { &self.resource } else { &wish.resource };
        Ok(Self { scope: scope.clone(), resource: resource.clone() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn uri(text: &str) -> AbsoluteUri {
        AbsoluteUri::parse(text).unwrap()
    }

    fn scope(text: &str) -> Scope {
        Scope::parse(text).unwrap()
    }

    #[test]
    fn a_wish_narrows_and_never_widens() {
        let granted = Access { scope: scope("a b"), resource: vec![uri("urn:x"), uri("urn:y")] };
        let narrowed = |words: Option<&str>, resource: &[&str]| {
            let wish = Wish { scope: words.map(scope), resource: resource.iter().map(|text| uri(text)).collect() };
            granted.narrowed(&wish)
        };
        assert_eq!(narrowed(None, &[]), Ok(granted.clone()));
        assert_eq!(narrowed(Some("b"), &["urn:y"]), Ok(Access { scope: scope("b"), resource: vec![uri("urn:y")] }));
        assert_eq!(narrowed(Some(""), &[]).unwrap().scope, Scope::default());
        assert_eq!(narrowed(Some("a c"), &[]), Err(TooWide::Scope));
        assert_eq!(narrowed(None, &["urn:x", "urn:z"]), Err(TooWide::Resource));
    }
}
