//! Access tokens whose signature was found good, so that the next request with the same one need not check it again.
//!
//! Checking an Ed25519 signature costs more than all else that a read of an account takes. What is kept is what the token
//! says; whether its time is over and whether its session lives is asked anew each time. It belongs to one set of keys, and
//! goes with it: what a key signed that was taken away is known no more.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use ::ring::digest::{Context, SHA256};

/// Tokens that are kept: a power of two, so that each has its place by the first bits of its hash.
const PLACES: usize = 4_096;

/// What was found good, in as many places as there are, whoever comes last: a bounded memory without an order to keep.
pub(crate) struct Verified<C>(Box<[Place<C>]>);

type Place<C> = Mutex<Option<([u8; 32], Arc<C>)>>;

impl<C> Default for Verified<C> {
    fn default() -> Self {
        Self((0..PLACES).map(|_| Mutex::default()).collect())
    }
}

impl<C> fmt::Debug for Verified<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verified({} places)", self.0.len())
    }
}

impl<C> Verified<C> {
    /// What this very token says, if it was checked before for the same purpose; else what `check` finds, which is kept
    /// when it is good. `asked` is all that the check depends on: the token, and what is expected of it.
    ///
    /// # Errors
    /// Those of `check`. A token that is not good is checked again each time.
    pub(crate) fn claims<E>(&self, asked: [&str; 4], check: impl FnOnce() -> Result<C, E>) -> Result<Arc<C>, E> {
        let hash = hashed(asked);
        let number = hash.iter().take(2).fold(0, |number, byte| number * 256 + usize::from(*byte));
        let Some(place) = self.0.get(number % PLACES) else { return check().map(Arc::new) };
        let known = place.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, claims)) = known.filter(|(of, _)| *of == hash) {
            return Ok(claims);
        }
        let claims = Arc::new(check()?);
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Some((hash, Arc::clone(&claims)));
        Ok(claims)
    }
}

fn hashed(asked: [&str; 4]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in asked {
        context.update(&part.len().to_be_bytes());
        context.update(part.as_bytes());
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::*;

    fn of(token: &str) -> [&str; 4] {
        [token, "type", "issuer", "audience"]
    }

    #[test]
    fn a_good_token_is_checked_once_and_a_bad_one_each_time() {
        let verified = Verified::default();
        assert_eq!(verified.claims(of("bad"), || Err::<u8, _>("no")), Err("no"));
        assert_eq!(verified.claims(of("bad"), || Err("still no")), Err("still no"));
        assert_eq!(verified.claims(of("good"), || Ok::<_, &str>(7)), Ok(Arc::new(7)));
        assert_eq!(verified.claims(of("good"), || Err("it is not asked")), Ok(Arc::new(7)));
    }

    #[test]
    fn a_token_that_differs_in_one_character_is_another() {
        let verified = Verified::default();
        assert_eq!(verified.claims(of("token.a"), || Ok::<_, &str>(1)), Ok(Arc::new(1)));
        assert_eq!(verified.claims(of("token.b"), || Err("unknown")), Err("unknown"));
        let elsewhere = ["token.a", "type", "issuer", "another audience"];
        assert_eq!(verified.claims(elsewhere, || Err("not for it")), Err("not for it"));
    }

    #[test]
    fn it_does_not_grow_beyond_its_places_and_says_of_none_what_another_says() {
        let verified = Verified::default();
        for number in 0..4 * PLACES {
            let token = number.to_string();
            assert_eq!(verified.claims(of(&token), || Ok::<_, &str>(number)).unwrap(), Arc::new(number));
            assert_eq!(verified.claims(of(&token), || Err("it is there")).unwrap(), Arc::new(number));
        }
        let kept = verified.0.iter().filter(|place| place.lock().unwrap().is_some()).count();
        assert!(kept <= PLACES);
        assert!(verified.claims(of("0"), || Ok::<_, &str>(0)).is_ok(), "whoever was crowded out is checked again");
    }
}
