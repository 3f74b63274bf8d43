//! The sign-in that a registration ends in: in the browser that began it, the code or link has proved the address, and the
//! browser's cookie who typed the password.
//!
//! What must stay true: one registration begins one session, however often it is asked for; no other browser gets it; and
//! none begins once anything was done to the account that ends sessions.

use std::sync::Arc;

use cairn_runtime::{Asker, Flow, InputId, Snapshot};

use super::entry::{Entered, Entry};
use super::{Caller, Refusal, Services, first};
use crate::flows::challenge::LetterProof as _;
use crate::flows::registration::Registration;
use crate::flows::session::Session;
use crate::identity::device::Device;
use crate::identity::user_id::UserId;
use crate::secrets::credential::{Presented, Token, of};

/// A browser that is signed in.
#[derive(Debug)]
pub struct Browser {
    /// The value of the session's cookie.
    pub cookie: Token,
    /// The proof by which the device is known from now on.
    pub device: String,
}

impl Services {
    /// The user that a registration has made, if it has made one.
    ///
    /// # Errors
    /// The database is away.
    pub async fn user_of_registration(&self, flow: &str) -> Result<Option<UserId>, Refusal> {
        let Ok(id) = Self::id_of::<Registration>(flow) else { return Ok(None) };
        Ok(self.find::<Registration>(id).await?.and_then(|seen| seen.state.user()))
    }

    /// Signs in whoever has proved the address of a registration within the last day, in the browser that began it: one of
    /// the cookies is the registration's own. A repeat gets the same session. `None` where no cookie is, where that
    /// session has ended, or where its account is not any more as the registration made it.
    ///
    /// # Errors
    /// Only the engine's.
    pub async fn enter_registered(
        &self,
        caller: &Caller,
        flow: &str,
        cookies: &[&str],
    ) -> Result<Option<Browser>, Refusal> {
        let environment = self.engine.environment();
        let Ok(id) = Self::id_of::<Registration>(flow) else { return Ok(None) };
        let Some(Snapshot { state, .. }) = self.find::<Registration>(id).await? else { return Ok(None) };
        let Registration::Verified { user, .. } = &state else { return Ok(None) };
        let began_here = cookies
            .iter()
            .filter_map(|cookie| Presented::parse(&environment.ring, of::FlowCookie, cookie).ok())
            .any(|cookie| cookie.flow() == *id.bytes() && state.knows_browser(&cookie, &environment));
        if !began_here {
            return Ok(None);
        }
        let Some(user) = self.directory.users.by_id(*user).await? else { return Ok(None) };
        // Both numbers begin at 0. What raises one of them has put an end to what was begun before it.
        if user.fence != 0 || user.devices != 0 || user.deletion.is_some() {
            return Ok(None);
        }
        // Both by the registration and not by chance: a repeat, on any node and after a crash, finds what the first began.
        let derived = |label: &str| environment.digest(label, id.bytes()).0;
        let device = Device::new(user.id, user.devices, derived("device of a registration"));
        let is_known = self.directory.devices.knows(user.id, device.id()).await?;
        let asker = Asker {
            input: InputId::from_bytes(first(&derived("session of a registration"))),
            repeatable: true,
            fingerprint: None,
            trace: Arc::from(caller.trace.as_str()),
        };
        let entry = Entry { user: &user, amr: &["pwd", "email"], device, is_known, forgets: None };
        let Entered::Begun { reply, device, crowded, .. } = self.enter(caller, entry, asker).await? else {
            return Ok(None);
        };
        // What is told once more has made its room.
        if !reply.repeated {
            self.make_room(caller, &crowded).await;
        }
        match self.session_cookie(&reply.flow.0.text(Session::PREFIX)).await {
            Ok(cookie) => Ok(Some(Browser { cookie, device })),
            Err(Refusal::SessionEnded) => Ok(None),
            Err(other) => Err(other),
        }
    }
}
