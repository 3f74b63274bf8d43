//! Claims about people: which ones a scope stands for, and what they say (OpenID Connect Core sections 5.1 and 5.4).

use serde_json::{Map, Value, json};

use super::scope::Scope;
use crate::directory::User;

/// The claims that can be told of somebody, each with the scope that it belongs to.
pub const CLAIMS: [(&str, &str); 9] = [
    ("sub", "openid"),
    ("name", "profile"),
    ("given_name", "profile"),
    ("family_name", "profile"),
    ("preferred_username", "profile"),
    ("updated_at", "profile"),
    ("roles", "profile"),
    ("email", "email"),
    ("email_verified", "email"),
];

/// What is told of a person for a scope, and of the claims that were asked for one by one. What is not known is left out.
pub fn of(user: &User, scope: &Scope, asked: &[String]) -> Map<String, Value> {
    let told = CLAIMS.iter().filter(|(name, word)| scope.has(word) || asked.iter().any(|asked| asked == name));
    told.filter_map(|(name, _)| Some(((*name).to_owned(), value(user, name)?))).collect()
}

fn value(user: &User, claim: &str) -> Option<Value> {
    Some(match claim {
        "sub" => json!(user.id.text()),
        "name" => json!(user.name()?),
        "given_name" => json!(user.first_name.as_ref()?.to_string()),
        "family_name" => json!(user.last_name.as_ref()?.to_string()),
        "preferred_username" => json!(user.username.as_ref()?.to_string()),
        "updated_at" => json!(user.updated_at.seconds()),
        "roles" => json!(user.roles),
        "email" => json!(user.address.typed()),
        // No account is there whose address was not proved.
        "email_verified" => json!(true),
        _ => return None,
    })
}
