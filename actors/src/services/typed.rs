//! What people typed, member by member: one answer names all that must be mended.

use std::fmt;

use super::{BadValue, Refusal};
use crate::identity::address::{Address, AddressError};
use crate::identity::disposable::{Disposable, DisposableError};
use crate::identity::name::{PersonName, PersonNameError};
use crate::identity::reserved::{IsReserved, Reserved};
use crate::identity::username::{Username, UsernameError};
use crate::secrets::password::{Code, NotSixDigits, PasswordError};
use crate::secrets::strength::Unworthy;

/// Why a value is not acceptable: a word for programs, a sentence for people.
pub(super) trait Unacceptable: fmt::Display {
    /// One word of a fixed set.
    fn word(&self) -> &'static str;
}

macro_rules! unacceptable {
    ($($why:ty),+ $(,)?) => { $(
        impl Unacceptable for $why {
            fn word(&self) -> &'static str {
                self.code()
            }
        }
    )+ };
}

unacceptable!(
    AddressError,
    DisposableError,
    IsReserved,
    PersonNameError,
    PasswordError,
    NotSixDigits,
    Unworthy,
    UsernameError,
);

/// One value that is not acceptable.
pub(super) fn bad(pointer: &'static str, why: &impl Unacceptable) -> Refusal {
    Refusal::Values(vec![BadValue { pointer, code: why.word(), detail: why.to_string() }])
}

/// Six digits.
pub(super) fn code(text: &str) -> Result<Code, Refusal> {
    Code::parse(text).map_err(|why| bad("/code", &why))
}

/// Collects what is wrong.
#[derive(Debug, Default)]
pub(super) struct Typed(Vec<BadValue>);

/// A username and names that are acceptable.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) username: Option<Username>,
    pub(super) first_name: Option<PersonName>,
    pub(super) last_name: Option<PersonName>,
}

impl Typed {
    /// The value, or what is wrong with it is noted.
    pub(super) fn take<T, E: Unacceptable>(&mut self, pointer: &'static str, parsed: Result<T, E>) -> Option<T> {
        parsed.map_err(|why| self.0.push(BadValue { pointer, code: why.word(), detail: why.to_string() })).ok()
    }

    /// An address, disposable ones as the operator says.
    pub(super) fn address(
        &mut self,
        pointer: &'static str,
        text: &str,
        disposable: Disposable,
        accepted: bool,
    ) -> Option<Address> {
        let address = self.take(pointer, Address::parse(text))?;
        self.take(pointer, disposable.check(&address, accepted)).map(|()| address)
    }

    /// Names, each of which may be absent. A reserved username is refused unless it is their `own` already.
    pub(super) fn names(
        &mut self,
        username: Option<&str>,
        first: Option<&str>,
        last: Option<&str>,
        reserved: &Reserved,
        own: Option<&Username>,
    ) -> Names {
        let username = username.and_then(|text| self.take("/username", Username::parse(text)));
        Names {
            username: username.filter(|name| self.take("/username", reserved.check(name, own)).is_some()),
            first_name: first.and_then(|text| self.take("/first_name", PersonName::parse(text))),
            last_name: last.and_then(|text| self.take("/last_name", PersonName::parse(text))),
        }
    }

    /// Refuses when anything was wrong.
    ///
    /// # Errors
    /// [`Refusal::Values`] with all of it.
    pub(super) fn check(self) -> Result<(), Refusal> {
        if self.0.is_empty() { Ok(()) } else { Err(Refusal::Values(self.0)) }
    }
}
