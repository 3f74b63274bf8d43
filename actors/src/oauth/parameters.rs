//! Parameters of requests: each at most once, empty ones as if they were left out, unknown ones ignored (RFC 6749 sections
//! 3.1 and 3.2).

use super::error::OAuthError;

/// The parameters of one request, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub struct Parameters(Vec<(String, String)>);

/// The one parameter that may come several times (RFC 8707 section 2).
const RESOURCE: &str = "resource";

impl Parameters {
    /// Of pairs as they came. Empty ones are left out.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect())
    }

    /// A parameter that may come once.
    ///
    /// # Errors
    /// `invalid_request` when it came twice.
    pub fn one(&self, name: &'static str) -> Result<Option<&str>, OAuthError> {
        let mut values = self.0.iter().filter(|(known, _)| known == name);
        let first = values.next().map(|(_, value)| value.as_str());
        match values.next() {
            Some(_) => Err(OAuthError::invalid_request(format!("Send the parameter {name} once."))),
            None => Ok(first),
        }
    }

    /// A parameter that must come, once.
    ///
    /// # Errors
    /// `invalid_request` when it did not.
    pub fn needed(&self, name: &'static str) -> Result<&str, OAuthError> {
        self.one(name)?.ok_or_else(|| OAuthError::invalid_request(format!("Send the parameter {name}.")))
    }

    /// The first of its name, however often it came: for what is told where it cannot be judged any more.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The resources that are asked for.
    pub fn resources(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(name, _)| name == RESOURCE).map(|(_, value)| value.as_str())
    }

    /// Whether a parameter came more than once that may not.
    pub fn doubled(&self) -> Option<&str> {
        self.0.iter().enumerate().find_map(|(place, (name, _))| {
            let before = self.0.iter().take(place);
            (name != RESOURCE && before.into_iter().any(|(known, _)| known == name)).then_some(name.as_str())
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::error::ErrorCode;
    use super::*;

    fn parameters(pairs: &[(&str, &str)]) -> Parameters {
        Parameters::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn what_comes_twice_is_refused_and_what_is_empty_was_left_out() {
        let sent = parameters(&[("scope", "a"), ("state", ""), ("scope", "b"), ("resource", "x"), ("resource", "y")]);
        assert_eq!(sent.one("scope").unwrap_err().code, ErrorCode::InvalidRequest);
        assert_eq!(sent.one("state").unwrap(), None);
        assert_eq!(sent.needed("state").unwrap_err().code, ErrorCode::InvalidRequest);
        assert_eq!(sent.resources().collect::<Vec<_>>(), ["x", "y"]);
        assert_eq!(sent.doubled(), Some("scope"));
        assert_eq!(parameters(&[("resource", "x"), ("resource", "y")]).doubled(), None);
    }
}
