//! The sign-in that a registration ends in: in the browser that began it, the code or link has proved the address, and the
//! browser's cookie who typed the password.
//!
//! What must stay true: one registration begins one session, however often it is asked for; no other browser gets it; and
//! none begins once anything was done to the account that ends sessions.

use std::sync::Arc;

use cairn_runtime::{Asker, Flow, FlowId, Id, InputId};

use super::arrival::agent;
use super::{Caller, Refusal, Services, first};
use crate::credential::{Presented, Token, of};
use crate::device::Device;
use crate::effects::UserId;
use crate::flows::registration::Registration;
use crate::flows::session::{Outcome, Session, Start};

/// A browser that is signed in.
#[derive(Debug)]
pub struct Entered {
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
        let Some(id) = Id::parse(Registration::PREFIX, flow).map(FlowId) else { return Ok(None) };
        let row = self.engine.store().load(id).await?.filter(|row| row.kind == Registration::NAME);
        let state = row.and_then(|row| serde_json::from_str::<Registration>(&row.state).ok());
        Ok(state.and_then(|state| state.user()))
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
    ) -> Result<Option<Entered>, Refusal> {
        let world = self.engine.world();
        let Some(id) = Id::parse(Registration::PREFIX, flow).map(FlowId) else { return Ok(None) };
        let Some(row) = self.engine.store().load(id).await?.filter(|row| row.kind == Registration::NAME) else {
            return Ok(None);
        };
        let Ok(state) = serde_json::from_str::<Registration>(&row.state) else { return Ok(None) };
        let Registration::Verified { user, until, .. } = &state else { return Ok(None) };
        let began_here = cookies
            .iter()
            .filter_map(|cookie| Presented::parse(&world.ring, of::FlowCookie, cookie).ok())
            .any(|cookie| cookie.flow() == *id.bytes() && state.knows_browser(&cookie, &world));
        if !began_here || *until <= self.engine.now() {
            return Ok(None);
        }
        let Some(user) = self.directory.by_id(*user).await? else { return Ok(None) };
        // Both numbers begin at 0. What raises one of them has put an end to what was begun before it.
        if user.fence != 0 || user.devices != 0 || user.deletion.is_some() {
            return Ok(None);
        }
        // Both by the registration and not by chance: a repeat, on any node and after a crash, finds what the first began.
        let derived = |label: &str| world.digest(label, id.bytes()).0;
        let device = Device::new(user.id, user.devices, derived("device of a registration"));
        let is_known = self.directory.knows_device(user.id, device.id()).await?;
        let arrival = self.arrival(caller, &user, &device, is_known, None).await?;
        let crowded = arrival.crowded.clone();
        let start = Start {
            user: user.id,
            fence: user.fence,
            devices: user.devices,
            amr: vec!["pwd".to_owned(), "email".to_owned()],
            device: agent(caller),
            client_address: Some(caller.address.to_canonical().to_string()),
            arrival,
            forgets: None,
        };
        let asker = Asker {
            input: InputId::from_bytes(first(&derived("session of a registration"))),
            repeatable: true,
            fingerprint: None,
            trace: Arc::from(caller.trace.as_str()),
        };
        let reply = self.engine.start::<Session>(asker, start).await?;
        if reply.outcome == Outcome::Refused {
            return Ok(None);
        }
        self.make_room(caller, &crowded).await;
        match self.session_cookie(&reply.flow.0.text(Session::PREFIX)).await {
            Ok(cookie) => Ok(Some(Entered { cookie, device: device.proof(&world, self.engine.now()) })),
            Err(Refusal::SessionEnded) => Ok(None),
            Err(other) => Err(other),
        }
    }
}
