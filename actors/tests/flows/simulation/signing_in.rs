//! People who sign in, carry their session on and end it, with the present refresh token, the one before it and older
//! ones, several of them at once.

use std::collections::BTreeMap;

use cairn_actors::effects::{Auth, Key};
use cairn_actors::flows::session::{Account, Arrival, Command, Notice, Outcome, Restores, SeenDevice, Session, Start};
use cairn_actors::identity::user_id::UserId;
use cairn_actors::secrets::credential::{Purpose, Seal, of};
use cairn_actors::secrets::hasher::SealedHash;
use cairn_actors::testing;
use cairn_runtime::testing::clock::Rng;
use cairn_runtime::testing::simulation::{Desk, Heard, Order, Told};
use cairn_runtime::{FlowId, Id, Timestamp};

use super::ledger::IssuedTokens;
use super::people::{Asked as Any, People, Plan, number, presented, recent};
use super::post::text;

/// What the person's device says it is.
pub(super) const DEVICE: &str = "Browser of Somebody";
/// Where it is.
pub(super) const CLIENT_ADDRESS: &str = "192.0.2.44";

/// A session that somebody began, and all its refresh tokens that anybody was told.
pub(super) struct Held {
    pub(super) flow: FlowId,
    user: UserId,
    /// The browser's, while the session lives.
    cookie: String,
    /// The one from before the password was changed.
    copied: Option<String>,
    tokens: BTreeMap<u32, String>,
}

#[derive(Clone, Debug)]
pub(super) enum Asked {
    SignIn { user: UserId, fence: i64, devices: i64 },
    Refresh { flow: FlowId, shown: Option<u32> },
    SignOut { shown: Option<u32> },
    StepUp { flow: FlowId, fence: i64, devices: i64 },
    ChangePassword { flow: FlowId, fence: i64, devices: i64, password: SealedHash },
    Revoke,
    Disown { flow: FlowId, password: Option<SealedHash> },
    Seen { flow: FlowId, is_copied: bool },
    Leave,
}

/// One of the tokens that are known: mostly the last, sometimes the one before it, seldom any.
pub(super) fn some_token(tokens: &BTreeMap<u32, String>, rng: &mut Rng) -> Option<(u32, String)> {
    let last = *tokens.keys().next_back()?;
    let n = match rng.below(100) {
        0..70 => last,
        70..94 => last.saturating_sub(1),
        _ => u32::try_from(rng.below(u64::from(last) + 1)).unwrap_or(last),
    };
    let (n, token) = tokens.range(n..).next()?;
    Some((*n, token.clone()))
}

impl People {
    pub(super) fn plan_session(&mut self, desk: &mut Desk<'_, Auth>) -> Option<Plan> {
        let lot = desk.rng.below(100);
        match lot {
            0..28 => return self.sign_in(desk),
            28..36 => return self.prove_again(desk),
            36..39 => {
                let flow = recent(&self.sessions, desk.rng)?.flow;
                let order = Order::call::<Session>("revoke", flow, || Command::Revoke);
                return Some(Plan::at_once(Any::Session(Asked::Revoke), order));
            }
            39..44 => return self.browse(desk),
            44..47 => {
                return self.disown(desk);
            }
            _ => {}
        }
        let held = recent(&self.sessions, desk.rng)?;
        let flow = held.flow;
        let (shown, token) = if desk.rng.chance(20) {
            (None, self.forged(Purpose::RefreshToken, flow))
        } else {
            let (n, token) = some_token(&held.tokens, desk.rng)?;
            (Some(n), token)
        };
        let environment = self.environment.clone();
        let token = move || presented(&environment, of::RefreshToken, &token);
        Some(if lot < 94 {
            let order = Order::call::<Session>("refresh", flow, move || Command::Refresh(token()));
            Plan::at_once(Any::Session(Asked::Refresh { flow, shown }), order)
        } else {
            let order = Order::call::<Session>("sign out", flow, move || Command::SignOut(token()));
            Plan::at_once(Any::Session(Asked::SignOut { shown }), order)
        })
    }

    fn sign_in(&self, desk: &mut Desk<'_, Auth>) -> Option<Plan> {
        let user = self.somebody(desk.rng)?;
        self.sign_in_of(user, desk)
    }

    /// The link of a new-device letter is used, once or more often, with or without a new password.
    fn disown(&mut self, desk: &mut Desk<'_, Auth>) -> Option<Plan> {
        let mail = self.post.recent(Purpose::EndSession, desk.rng)?;
        let (environment, link, flow) = (self.environment.clone(), mail.link, mail.flow);
        let password = desk.rng.chance(400).then(|| self.new_password());
        let user = self.ledger.borrow().chains.get(&flow).and_then(|chain| chain.user)?;
        let devices = desk.store.inspect(|tables| number(tables, &Key::Devices(user)));
        let to = self.ledger.borrow().users.get(&user).map(|account| account.address.clone());
        let mut others = self.sessions_of(user);
        others.retain(|other| *other != flow && desk.rng.chance(300));
        let asked = Asked::Disown { flow, password: password.clone() };
        let order = Order::call::<Session>("disown", flow, move || Command::Disown {
            link: presented(&environment, of::EndSession, &link),
            account: devices.zip(to.clone()).map(|(devices, to)| Account {
                devices,
                to,
                others: others.clone(),
                password: password.clone(),
            }),
        });
        Some(Plan::hashed(Any::Session(asked), order, desk.rng))
    }

    pub(super) fn sign_in_of(&self, user: UserId, desk: &mut Desk<'_, Auth>) -> Option<Plan> {
        let fence = desk.store.inspect(|tables| number(tables, &Key::User(user)))?;
        let devices = desk.store.inspect(|tables| number(tables, &Key::Devices(user)))?;
        let profile = desk.store.inspect(|tables| number(tables, &Key::Profile(user)))?;
        let (is_first, address, deletion) = {
            let ledger = self.ledger.borrow();
            let account = ledger.users.get(&user)?;
            (!account.signed_in, account.address.clone(), account.deletion)
        };
        // Somebody whose account is to be deleted comes back seldom.
        if deletion.is_some() && desk.rng.chance(700) {
            return None;
        }
        let device = SeenDevice {
            id: Id::v7(1, desk.rng.below(6).to_be_bytes().repeat(2).first_chunk().copied()?),
            is_new: desk.rng.chance(300),
        };
        let until = deletion.and_then(|deletion| {
            desk.store.inspect(|tables| {
                tables.rows.get(&deletion).map(|stored| stored.row.wake_at.unwrap_or(Timestamp(i64::MAX)))
            })
        });
        let place = desk.rng.chance(500).then(|| self.environment.digest("place", &desk.rng.below(3).to_be_bytes()));
        let is_new = desk.rng.chance(250);
        let mut crowded = self.sessions_of(user);
        crowded.truncate(usize::from(desk.rng.chance(100)));
        let order = Order::start::<Session>("sign in", move || Start {
            user,
            fence,
            devices,
            amr: vec!["pwd".to_owned()],
            device: Some(DEVICE.to_owned()),
            client_address: Some(CLIENT_ADDRESS.to_owned()),
            forgets: None,
            arrival: Arrival {
                place,
                notice: is_new.then(|| Notice {
                    to: address.clone(),
                    device: DEVICE.to_owned(),
                    client_address: CLIENT_ADDRESS.to_owned(),
                }),
                is_first,
                crowded: crowded.clone(),
                device: Some(device),
                restores: deletion.zip(until).map(|(deletion, until)| Restores {
                    deletion,
                    until,
                    profile,
                    to: address.clone(),
                }),
            },
        });
        Some(Plan::hashed(Any::Session(Asked::SignIn { user, fence, devices }), order, desk.rng))
    }

    /// The sessions of a user that somebody has heard of, the last first.
    pub(super) fn sessions_of(&self, user: UserId) -> Vec<FlowId> {
        self.sessions.iter().rev().filter(|held| held.user == user).map(|held| held.flow).take(8).collect()
    }

    /// A browser with the session's cookie asks for a page, or leaves.
    fn browse(&self, desk: &mut Desk<'_, Auth>) -> Option<Plan> {
        let held = recent(&self.sessions, desk.rng)?;
        let copied = held.copied.clone().filter(|_| desk.rng.chance(200));
        let is_copied = copied.is_some();
        let (flow, environment, cookie) =
            (held.flow, self.environment.clone(), copied.unwrap_or_else(|| held.cookie.clone()));
        let cookie = move || presented(&environment, of::SessionCookie, &cookie);
        Some(if desk.rng.chance(850) {
            let order = Order::call::<Session>("seen", flow, move || Command::Seen(cookie()));
            Plan::at_once(Any::Session(Asked::Seen { flow, is_copied }), order)
        } else {
            let order = Order::call::<Session>("leave", flow, move || Command::Leave(cookie()));
            Plan::at_once(Any::Session(Asked::Leave), order)
        })
    }

    /// Somebody types their password once more, to be trusted with more or to set another.
    fn prove_again(&mut self, desk: &mut Desk<'_, Auth>) -> Option<Plan> {
        let (flow, user) = recent(&self.sessions, desk.rng).map(|held| (held.flow, held.user))?;
        let fence = desk.store.inspect(|tables| number(tables, &Key::User(user)))?;
        let devices = desk.store.inspect(|tables| number(tables, &Key::Devices(user)))?;
        if desk.rng.chance(600) {
            let order = Order::call::<Session>("step up", flow, move || Command::StepUp { fence, devices });
            return Some(Plan::hashed(Any::Session(Asked::StepUp { flow, fence, devices }), order, desk.rng));
        }
        let password = self.new_password();
        let to = self.ledger.borrow().users.get(&user)?.address.clone();
        let mut others = self.sessions_of(user);
        others.retain(|other| *other != flow && desk.rng.chance(600));
        let asked = Asked::ChangePassword { flow, fence, devices, password: password.clone() };
        let order = Order::call::<Session>("change password", flow, move || Command::ChangePassword {
            fence,
            devices,
            password: password.clone(),
            to: to.clone(),
            followers: testing::following(others.clone()),
        });
        Some(Plan::hashed(Any::Session(asked), order, desk.rng))
    }

    /// Why whoever asks this now must get no tokens.
    pub(super) fn session_doom(&self, asked: &Asked) -> Option<String> {
        let ledger = self.ledger.borrow();
        match asked {
            Asked::SignIn { user, fence, devices } => {
                let read = (Some(*fence), Some(*devices));
                let present = (ledger.fence(*user), ledger.devices(*user));
                (present != read).then(|| format!("fence and devices were read at {read:?}, and were at {present:?}"))
            }
            Asked::Refresh { shown: None, .. } => Some("the token is forged".to_owned()),
            Asked::Refresh { flow, shown } => ledger.doom(*flow, *shown),
            Asked::StepUp { flow, fence, devices } | Asked::ChangePassword { flow, fence, devices, .. } => {
                let chain = ledger.chains.get(flow)?;
                let read = (Some(*fence), Some(*devices));
                let of = |user| (ledger.fence(user), ledger.devices(user));
                let present = chain.user.map_or((None, None), of);
                let moved = present != read;
                let moved = moved.then(|| format!("fence and devices were read at {read:?}, and were at {present:?}"));
                moved.or_else(|| ledger.doom(*flow, None))
            }
            Asked::Seen { is_copied: true, .. } => {
                Some("the cookie is from before the password was changed".to_owned())
            }
            Asked::Seen { flow, .. } => ledger.doom(*flow, None),
            Asked::SignOut { .. } | Asked::Revoke | Asked::Disown { .. } | Asked::Leave => None,
        }
    }

    pub(super) fn hear_session(&mut self, asked: &Asked, told: &Told, doom: Option<String>) -> Result<Heard, String> {
        let outcome: Outcome = told.says().ok_or("these are not its words")?;
        self.ledger.borrow().count("session", &outcome);
        match (asked, outcome) {
            (Asked::SignIn { user: of, .. }, Outcome::Tokens { user, issue, minted, .. }) => {
                let handed = IssuedTokens { issue, minted };
                self.good_tokens(told.flow, &handed, doom)?;
                if user != *of || handed.issue.n != 0 {
                    return Err(format!("{of:?} signed in"));
                }
                let token = text(&self.environment, Purpose::RefreshToken, told.flow, &handed.issue);
                let cookie = text(&self.environment, Purpose::SessionCookie, told.flow, &handed.issue);
                let tokens = BTreeMap::from([(0, token)]);
                self.sessions.push(Held { flow: told.flow, user, cookie, copied: None, tokens });
                Ok(Heard::Moved)
            }
            (Asked::SignIn { .. }, Outcome::Refused) => Ok(Heard::Anything),
            (Asked::Refresh { flow, shown: Some(shown) }, Outcome::Tokens { issue, minted, .. }) => {
                let handed = IssuedTokens { issue, minted };
                self.good_tokens(*flow, &handed, doom)?;
                if handed.issue.n != shown + 1 {
                    return Err(format!("{} does not follow {shown}", handed.issue.n));
                }
                self.keep(*flow, &handed)?;
                Ok(Heard::Anything)
            }
            (Asked::StepUp { flow, .. }, Outcome::Tokens { issue, minted, .. }) => {
                let handed = IssuedTokens { issue, minted };
                self.good_tokens(*flow, &handed, doom)?;
                self.keep(*flow, &handed)?;
                Ok(Heard::Moved)
            }
            (Asked::ChangePassword { flow, password, .. }, Outcome::PasswordChanged { tokens, .. }) => {
                if self.ledger.borrow().passwords.get(password.as_text()) != Some(flow) {
                    return Err("it was not set".to_owned());
                }
                let Some(Outcome::Tokens { issue, minted, .. }) = tokens.map(|tokens| *tokens) else {
                    return Err("it gave no tokens".to_owned());
                };
                let handed = IssuedTokens { issue, minted };
                self.good_tokens(*flow, &handed, doom)?;
                self.keep(*flow, &handed)?;
                // What the browser has kept from before is of an older salt; now and then somebody has a copy.
                let cookie = text(&self.environment, Purpose::SessionCookie, *flow, &Seal { n: 0, ..handed.issue });
                if let Some(held) = self.sessions.iter_mut().rev().find(|held| held.flow == *flow) {
                    held.copied = Some(std::mem::replace(&mut held.cookie, cookie));
                }
                Ok(Heard::Moved)
            }
            (Asked::Disown { flow, password }, Outcome::Disowned { password_set }) => {
                let ledger = self.ledger.borrow();
                let set = password.as_ref().and_then(|password| ledger.passwords.get(password.as_text()));
                match (password, password_set) {
                    (Some(_), true) if set == Some(flow) => Ok(Heard::Anything),
                    (Some(_), true) => Err("it was not set".to_owned()),
                    // The account is gone, or the link has been used without a password or with one.
                    (Some(_), false) if ledger.is_finished(*flow) => Ok(Heard::Anything),
                    (None, _) if ledger.is_finished(*flow) => Ok(Heard::Anything),
                    _ => Err("it goes on".to_owned()),
                }
            }
            (Asked::Disown { .. }, Outcome::Moved) => Ok(Heard::Anything),
            (Asked::Disown { flow, password: Some(_) }, Outcome::UsedUp) => self.over(*flow),
            (Asked::Refresh { flow, shown: Some(shown) }, Outcome::Refused) => {
                let proved = self.ledger.borrow().was_proved_after(*flow, *shown);
                if proved { Ok(Heard::Anything) } else { Err("nobody proved the password".to_owned()) }
            }
            (Asked::Refresh { shown: Some(shown), .. } | Asked::SignOut { shown: Some(shown) }, Outcome::Garbage) => {
                let salted = self.ledger.borrow().chains.get(&told.flow).map_or(0, |chain| chain.salted);
                if *shown < salted { Ok(Heard::Anything) } else { Err("it was a token of this session".to_owned()) }
            }
            (Asked::Seen { .. } | Asked::Leave, Outcome::Garbage) => {
                let salted = self.ledger.borrow().chains.get(&told.flow).map_or(0, |chain| chain.salted);
                if salted > 0 { Ok(Heard::Anything) } else { Err("it was this session's cookie".to_owned()) }
            }
            (Asked::Refresh { .. }, Outcome::Tokens { .. }) => Err(doom.unwrap_or_default()),
            (Asked::Seen { .. }, Outcome::Seen { .. }) => doom.map_or(Ok(Heard::Moved), Err),
            (Asked::SignIn { .. }, Outcome::Ended) => Err("it has not begun".to_owned()),
            (_, Outcome::Ended) => self.over(told.flow),
            (Asked::StepUp { .. } | Asked::ChangePassword { .. }, Outcome::Refused) => Ok(Heard::Anything),
            (Asked::Refresh { shown: None, .. } | Asked::SignOut { shown: None }, Outcome::Garbage) => {
                Ok(Heard::Anything)
            }
            _ => Err("that answers another question".to_owned()),
        }
    }

    /// A refresh token that somebody was told; one generation has one.
    fn keep(&mut self, flow: FlowId, handed: &IssuedTokens) -> Result<(), String> {
        let token = text(&self.environment, Purpose::RefreshToken, flow, &handed.issue);
        let held = self.sessions.iter_mut().rev().find(|held| held.flow == flow).ok_or("nobody began it")?;
        match held.tokens.insert(handed.issue.n, token.clone()) {
            Some(before) if before != token => Err("the chain forks".to_owned()),
            _ => Ok(()),
        }
    }

    /// Tokens that may be had, and are those that history knows.
    pub(super) fn good_tokens(&self, flow: FlowId, handed: &IssuedTokens, doom: Option<String>) -> Result<(), String> {
        match doom.or_else(|| self.ledger.borrow().contradicts(flow, handed)) {
            Some(why) => Err(why),
            None => Ok(()),
        }
    }
}
