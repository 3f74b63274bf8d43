//! People who sign in, carry their session on and end it, with the present refresh token, the one before it and older
//! ones, several of them at once.

use std::collections::BTreeMap;

use cairn_actors::effects::{Auth, DeviceWrite, Key, UserWrite, Write};
use cairn_actors::flows::session::{Account, Arrival, Command, Notice, Outcome, Restores, SeenDevice, Session, Start};
use cairn_actors::identity::user_id::UserId;
use cairn_actors::letters::Letter;
use cairn_actors::secrets::credential::{Purpose, Seal, of};
use cairn_actors::secrets::hasher::SealedHash;
use cairn_actors::testing;
use cairn_runtime::store::Row;
use cairn_runtime::testing::clock::Rng;
use cairn_runtime::testing::simulation::{Desk, Heard, Order, Told};
use cairn_runtime::{Flow, FlowId, Id, Timestamp};

use super::flow::{Plan, Reading, SimulatedFlow, Step};
use super::ledger::{Chain, IssuedTokens, Ledger};
use super::people::{Common, SignedIn, number, presented, recent};
use super::post::text;
use super::rows::View;

/// What the person's device says it is.
const DEVICE: &str = "Browser of Somebody";
/// Where it is.
const CLIENT_ADDRESS: &str = "192.0.2.44";

/// What people have of a session that somebody began: with all its refresh tokens that anybody was told.
struct Browser {
    flow: FlowId,
    user: UserId,
    /// The browser's, while the session lives.
    cookie: String,
    /// The one from before the password was changed.
    copied: Option<String>,
    tokens: BTreeMap<u32, String>,
}

#[derive(Default)]
pub(super) struct Sessions {
    browsers: Vec<Browser>,
    /// Links of new-device letters that were used, and the number of devices that they left, while they may set a
    /// password.
    disowned: BTreeMap<FlowId, Option<i64>>,
    /// Sign-ins that called a deletion off.
    came_back: usize,
}

#[derive(Debug)]
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

impl SimulatedFlow for Sessions {
    const NAME: &'static str = Session::NAME;
    const WAYS: &'static [&'static str] = &[
        "told Tokens",
        "told Refused",
        "told PasswordChanged",
        "told Seen",
        "told Disowned",
        "told UsedUp",
        "came to be ended crowded",
        "came to be ended disowned",
        "came to be ended expired",
        "came to be ended fenced",
        "came to be ended reused",
        "came to be ended signed_out",
        "called a deletion off",
    ];
    const PERSONAL: &'static [&'static str] = &[DEVICE, CLIENT_ADDRESS];
    type Asked = Asked;

    fn plan(&mut self, common: &mut Common, desk: &mut Desk<'_, Auth>) -> Option<Plan<Asked>> {
        let lot = desk.rng.below(100);
        match lot {
            0..27 => {
                let user = common.somebody(desk.rng)?;
                return sign_in(common, desk, user);
            }
            27..30 => return come_back(common, desk),
            30..38 => return self.prove_again(common, desk),
            38..41 => {
                let flow = recent(&self.browsers, desk.rng)?.flow;
                let order = Order::call::<Session>("revoke", flow, || Command::Revoke);
                return Some(Plan::at_once(Asked::Revoke, order));
            }
            41..46 => return self.browse(common, desk),
            46..49 => return disown(common, desk),
            _ => {}
        }
        let held = recent(&self.browsers, desk.rng)?;
        let flow = held.flow;
        let (shown, token) = if desk.rng.chance(20) {
            (None, common.forged(Purpose::RefreshToken, flow))
        } else {
            let (n, token) = some_token(&held.tokens, desk.rng)?;
            (Some(n), token)
        };
        let environment = common.environment.clone();
        let token = move || presented(&environment, of::RefreshToken, &token);
        Some(if lot < 94 {
            let order = Order::call::<Session>("refresh", flow, move || Command::Refresh(token()));
            Plan::at_once(Asked::Refresh { flow, shown }, order)
        } else {
            let order = Order::call::<Session>("sign out", flow, move || Command::SignOut(token()));
            Plan::at_once(Asked::SignOut { shown }, order)
        })
    }

    fn doom(&self, common: &Common, asked: &Asked) -> Option<String> {
        let ledger = &common.ledger;
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

    fn hear(&mut self, common: &mut Common, asked: &Asked, told: &Told, doom: Option<String>) -> Result<Heard, String> {
        let outcome: Outcome = told.says().ok_or("these are not its words")?;
        common.ledger.count(Self::NAME, &outcome);
        match (asked, outcome) {
            (Asked::SignIn { user: of, .. }, Outcome::Tokens { user, issue, minted, .. }) => {
                let handed = IssuedTokens { issue, minted };
                common.good_tokens(told.flow, &handed, doom)?;
                if user != *of || handed.issue.n != 0 {
                    return Err(format!("{of:?} signed in"));
                }
                let token = text(&common.environment, Purpose::RefreshToken, told.flow, &handed.issue);
                let cookie = text(&common.environment, Purpose::SessionCookie, told.flow, &handed.issue);
                let tokens = BTreeMap::from([(0, token)]);
                self.browsers.push(Browser { flow: told.flow, user, cookie, copied: None, tokens });
                common.sessions.push(SignedIn { flow: told.flow, user });
                Ok(Heard::Moved)
            }
            (Asked::SignIn { .. }, Outcome::Refused) => Ok(Heard::Anything),
            (Asked::Refresh { flow, shown: Some(shown) }, Outcome::Tokens { issue, minted, .. }) => {
                let handed = IssuedTokens { issue, minted };
                common.good_tokens(*flow, &handed, doom)?;
                if handed.issue.n != shown + 1 {
                    return Err(format!("{} does not follow {shown}", handed.issue.n));
                }
                self.keep(common, *flow, &handed)?;
                Ok(Heard::Anything)
            }
            (Asked::StepUp { flow, .. }, Outcome::Tokens { issue, minted, .. }) => {
                let handed = IssuedTokens { issue, minted };
                common.good_tokens(*flow, &handed, doom)?;
                self.keep(common, *flow, &handed)?;
                Ok(Heard::Moved)
            }
            (Asked::ChangePassword { flow, password, .. }, Outcome::PasswordChanged { tokens, .. }) => {
                if common.ledger.passwords.get(password.as_text()) != Some(flow) {
                    return Err("it was not set".to_owned());
                }
                let Some(Outcome::Tokens { issue, minted, .. }) = tokens.map(|tokens| *tokens) else {
                    return Err("it gave no tokens".to_owned());
                };
                let handed = IssuedTokens { issue, minted };
                common.good_tokens(*flow, &handed, doom)?;
                self.keep(common, *flow, &handed)?;
                // What the browser has kept from before is of an older salt; now and then somebody has a copy.
                let cookie = text(&common.environment, Purpose::SessionCookie, *flow, &Seal { n: 0, ..handed.issue });
                if let Some(held) = self.browsers.iter_mut().rev().find(|held| held.flow == *flow) {
                    held.copied = Some(std::mem::replace(&mut held.cookie, cookie));
                }
                Ok(Heard::Moved)
            }
            (Asked::Disown { flow, password }, Outcome::Disowned { password_set }) => {
                let ledger = &common.ledger;
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
            (Asked::Disown { flow, password: Some(_) }, Outcome::UsedUp) => common.over(*flow),
            (Asked::Refresh { flow, shown: Some(shown) }, Outcome::Refused) => {
                let proved = common.ledger.was_proved_after(*flow, *shown);
                if proved { Ok(Heard::Anything) } else { Err("nobody proved the password".to_owned()) }
            }
            (Asked::Refresh { shown: Some(shown), .. } | Asked::SignOut { shown: Some(shown) }, Outcome::Garbage) => {
                let salted = common.ledger.chains.get(&told.flow).map_or(0, |chain| chain.salted);
                if *shown < salted { Ok(Heard::Anything) } else { Err("it was a token of this session".to_owned()) }
            }
            (Asked::Seen { .. } | Asked::Leave, Outcome::Garbage) => {
                let salted = common.ledger.chains.get(&told.flow).map_or(0, |chain| chain.salted);
                if salted > 0 { Ok(Heard::Anything) } else { Err("it was this session's cookie".to_owned()) }
            }
            (Asked::Refresh { .. }, Outcome::Tokens { .. }) => Err(doom.unwrap_or_default()),
            (Asked::Seen { .. }, Outcome::Seen { .. }) => doom.map_or(Ok(Heard::Moved), Err),
            (Asked::SignIn { .. }, Outcome::Ended) => Err("it has not begun".to_owned()),
            (_, Outcome::Ended) => common.over(told.flow),
            (Asked::StepUp { .. } | Asked::ChangePassword { .. }, Outcome::Refused) => Ok(Heard::Anything),
            (Asked::Refresh { shown: None, .. } | Asked::SignOut { shown: None }, Outcome::Garbage) => {
                Ok(Heard::Anything)
            }
            _ => Err("that answers another question".to_owned()),
        }
    }

    fn committed(&mut self, ledger: &mut Ledger, step: &Step<'_>) {
        let Step { event, writes, .. } = step;
        let outcome: Outcome = step.says();
        match (&outcome, *writes) {
            (
                Outcome::PasswordChanged { tokens: Some(tokens), .. },
                [(_, Write::User(UserWrite::SetPassword { user, password, .. }))],
            ) => {
                return password_changed(ledger, step, *user, password, tokens);
            }
            (Outcome::Disowned { .. }, [_, ..]) => return self.disowned_by_link(ledger, step, &outcome),
            (Outcome::Tokens { user, .. }, _) if event.name == "sign_in" => {
                self.arrived(ledger, step, *user);
            }
            (Outcome::PasswordChanged { .. }, _) | (_, [_, ..]) => {
                ledger.complain(format!("the session {} said {outcome:?} and wrote {writes:?}", event.flow));
            }
            _ => {}
        }
        let mut held = ledger.held(step);
        // Where a password was proved, it must be in force still.
        let proves = matches!(event.name.as_str(), "sign_in" | "step_up");
        if held.devices.take().is_some() != (proves && matches!(outcome, Outcome::Tokens { .. })) {
            ledger.complain(format!("the session {} took {} and held {:?}", event.flow, event.name, step.line.guards));
        }
        match outcome {
            Outcome::Tokens { user, issue, minted, expires_at, .. } => {
                let handed = IssuedTokens { issue, minted };
                if event.name == "step_up"
                    && let Some(chain) = ledger.chains.get_mut(&event.flow)
                {
                    chain.proved.insert(handed.issue.n);
                }
                if event.name == "sign_in" {
                    let fence = held.user.map_or(-1, |(_, number)| number);
                    let chain = Chain { user: Some(user), fence, ..Chain::default() };
                    ledger.chains.insert(event.flow, chain);
                }
                ledger.hand(step, &held, user, handed, expires_at);
            }
            Outcome::Seen { expires_at } => match ledger.chains.get_mut(&event.flow) {
                Some(chain) if held == chain.own() => chain.expires_at = Some(expires_at),
                chain => {
                    let what = format!("{chain:?} of {} was carried on under {held:?}", event.flow);
                    ledger.complain(what);
                }
            },
            Outcome::Ended | Outcome::PasswordChanged { .. } | Outcome::Disowned { .. } => {}
            Outcome::Refused | Outcome::Garbage | Outcome::Moved | Outcome::UsedUp => {
                ledger.complain(format!("the session {} moved, and said {outcome:?}", event.flow));
            }
        }
    }

    /// The link of a letter is good for longer than the session that it tells of.
    fn is_over(row: &Row) -> bool {
        row.wake_at.is_none() || row.phase == "ended"
    }

    fn may_follow_the_end(event: &str) -> bool {
        matches!(event, "disown" | "woken")
    }

    fn letter(&self, ledger: &Ledger, letter: &Letter, flow: FlowId) -> Option<Reading> {
        let is_owner = |to| {
            let user = ledger.chains.get(&flow).and_then(|chain| chain.user);
            user.is_some_and(|user| ledger.owners(to).contains(&user))
        };
        match letter {
            Letter::SessionNewDevice { to, seal, .. } => Some(Reading::with(Purpose::EndSession, seal, is_owner(to))),
            Letter::DeletionCalledOff { to, .. } => Some(Reading::plain(is_owner(to))),
            Letter::PasswordChanged { to, .. } => Some(Reading::plain(ledger.set_password_of(flow, to))),
            _ => None,
        }
    }

    fn letters_due(&self) -> Vec<(&'static str, usize)> {
        vec![("deletion.called-off", self.came_back)]
    }

    fn row(&self, view: &mut View<'_>, row: &Row) {
        let is_over = |state: &Session| state.active().is_none();
        // What is kept of a session after its end, because of the link in a letter, has its time.
        let Session::Active(active) = view.read_lingering(row, is_over, true) else { return };
        view.has(&Key::Session(row.id.0), 0);
        let handed = IssuedTokens { issue: active.issue, minted: active.minted };
        view.chain(row, (active.user, active.fence), &handed, active.expires_at);
    }
}

impl Sessions {
    /// A browser with the session's cookie asks for a page, or leaves.
    fn browse(&self, common: &Common, desk: &mut Desk<'_, Auth>) -> Option<Plan<Asked>> {
        let held = recent(&self.browsers, desk.rng)?;
        let copied = held.copied.clone().filter(|_| desk.rng.chance(200));
        let is_copied = copied.is_some();
        let (flow, environment, cookie) =
            (held.flow, common.environment.clone(), copied.unwrap_or_else(|| held.cookie.clone()));
        let cookie = move || presented(&environment, of::SessionCookie, &cookie);
        Some(if desk.rng.chance(850) {
            let order = Order::call::<Session>("seen", flow, move || Command::Seen(cookie()));
            Plan::at_once(Asked::Seen { flow, is_copied }, order)
        } else {
            let order = Order::call::<Session>("leave", flow, move || Command::Leave(cookie()));
            Plan::at_once(Asked::Leave, order)
        })
    }

    /// Somebody types their password once more, to be trusted with more or to set another.
    fn prove_again(&self, common: &mut Common, desk: &mut Desk<'_, Auth>) -> Option<Plan<Asked>> {
        let (flow, user) = recent(&self.browsers, desk.rng).map(|held| (held.flow, held.user))?;
        let fence = desk.store.inspect(|tables| number(tables, &Key::User(user)))?;
        let devices = desk.store.inspect(|tables| number(tables, &Key::Devices(user)))?;
        if desk.rng.chance(600) {
            let order = Order::call::<Session>("step up", flow, move || Command::StepUp { fence, devices });
            return Some(Plan::hashed(Asked::StepUp { flow, fence, devices }, order, desk.rng));
        }
        let password = common.new_password();
        let to = common.ledger.users.get(&user)?.address.clone();
        let mut others = common.sessions_of(user);
        others.retain(|other| *other != flow && desk.rng.chance(600));
        let asked = Asked::ChangePassword { flow, fence, devices, password: password.clone() };
        let order = Order::call::<Session>("change password", flow, move || Command::ChangePassword {
            fence,
            devices,
            password: password.clone(),
            to: to.clone(),
            followers: testing::following(others.clone()),
        });
        Some(Plan::hashed(asked, order, desk.rng))
    }

    /// A refresh token that somebody was told; one generation has one.
    fn keep(&mut self, common: &Common, flow: FlowId, handed: &IssuedTokens) -> Result<(), String> {
        let token = text(&common.environment, Purpose::RefreshToken, flow, &handed.issue);
        let held = self.browsers.iter_mut().rev().find(|held| held.flow == flow).ok_or("nobody began it")?;
        match held.tokens.insert(handed.issue.n, token.clone()) {
            Some(before) if before != token => Err("the chain forks".to_owned()),
            _ => Ok(()),
        }
    }

    /// What a sign-in writes: that it is the first, with which device it was, and that a deletion is called off.
    fn arrived(&mut self, ledger: &mut Ledger, step: &Step<'_>, user: UserId) {
        let flow = step.event.flow;
        for (_, write) in step.writes {
            match write {
                Write::User(UserWrite::FirstSignIn { user: of, .. }) if *of == user => {
                    if let Some(account) = ledger.users.get_mut(&user) {
                        account.signed_in = true;
                    }
                }
                Write::Device(DeviceWrite::Add { user: of, .. }) | Write::Device(DeviceWrite::See { user: of, .. })
                    if *of == user => {}
                Write::User(UserWrite::SetDeletion { user: of, flow: None, .. }) if *of == user => {
                    ledger.note("session called a deletion off");
                    self.came_back += 1;
                    match ledger.users.get_mut(&user).and_then(|account| account.deletion.take()) {
                        Some(deletion) => drop(ledger.called_off.insert(deletion)),
                        None => ledger.complain(format!("{flow} called off what does not wait for {user:?}")),
                    }
                    ledger.profiled(step, user);
                }
                other => ledger.complain(format!("the session {flow} began and wrote {other:?}")),
            }
        }
    }

    /// The link of a new-device letter was used: the password is out of force, or a new one is set, by this link once.
    fn disowned_by_link(&mut self, ledger: &mut Ledger, step: &Step<'_>, outcome: &Outcome) {
        let (flow, writes) = (step.event.flow, step.writes);
        let used = self.disowned.get(&flow).copied();
        let (user, sets) = match writes {
            [
                (_, Write::Device(DeviceWrite::ForgetAll { user })),
                (_, Write::User(UserWrite::SuspendPassword { user: of, .. })),
            ] if user == of => (*user, false),
            [
                (_, Write::Device(DeviceWrite::ForgetAll { user })),
                (_, Write::User(UserWrite::SetPassword { user: of, password, .. })),
            ] if user == of => {
                ledger.set_password_alone(step, *user, password);
                (*user, true)
            }
            _ => return ledger.complain(format!("{flow} was disowned and wrote {writes:?}")),
        };
        let right = match used {
            None => true,
            Some(left) => sets && left.is_some() && left == ledger.devices(user),
        };
        if !right || *outcome != (Outcome::Disowned { password_set: sets }) {
            ledger.complain(format!("{flow} was disowned after {used:?}, said {outcome:?} and wrote {writes:?}"));
        }
        ledger.forgot_devices(step, user);
        let left = ledger.devices(user).filter(|_| !sets);
        self.disowned.insert(flow, left);
    }
}

/// Somebody whose account is to be deleted comes back by signing in.
fn come_back(common: &Common, desk: &mut Desk<'_, Auth>) -> Option<Plan<Asked>> {
    let waiting = common.ledger.users.iter().filter(|(_, account)| account.deletion.is_some());
    let waiting: Vec<UserId> = waiting.map(|(user, _)| *user).collect();
    let user = *desk.rng.pick(&waiting)?;
    sign_in(common, desk, user)
}

fn sign_in(common: &Common, desk: &mut Desk<'_, Auth>, user: UserId) -> Option<Plan<Asked>> {
    let fence = desk.store.inspect(|tables| number(tables, &Key::User(user)))?;
    let devices = desk.store.inspect(|tables| number(tables, &Key::Devices(user)))?;
    let profile = desk.store.inspect(|tables| number(tables, &Key::Profile(user)))?;
    let (is_first, address, deletion) = {
        let ledger = &common.ledger;
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
    let place = desk.rng.chance(500).then(|| common.environment.digest("place", &desk.rng.below(3).to_be_bytes()));
    let is_new = desk.rng.chance(250);
    let mut crowded = common.sessions_of(user);
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
    Some(Plan::hashed(Asked::SignIn { user, fence, devices }, order, desk.rng))
}

/// The link of a new-device letter is used, once or more often, with or without a new password.
fn disown(common: &mut Common, desk: &mut Desk<'_, Auth>) -> Option<Plan<Asked>> {
    let mail = common.post.recent(Purpose::EndSession, desk.rng)?;
    let (environment, link, flow) = (common.environment.clone(), mail.link, mail.flow);
    let password = desk.rng.chance(400).then(|| common.new_password());
    let user = common.ledger.chains.get(&flow).and_then(|chain| chain.user)?;
    let devices = desk.store.inspect(|tables| number(tables, &Key::Devices(user)));
    let to = common.ledger.users.get(&user).map(|account| account.address.clone());
    let mut others = common.sessions_of(user);
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
    Some(Plan::hashed(asked, order, desk.rng))
}

/// A new password by a session that stays: it takes the fence's new number, and nothing else does. What came before
/// is worthless to it.
fn password_changed(ledger: &mut Ledger, step: &Step<'_>, user: UserId, password: &SealedHash, tokens: &Outcome) {
    let flow = step.event.flow;
    let mut held = ledger.held(step);
    if held.devices.take() != Some(user) {
        ledger.complain(format!("{flow} set a password that was proved, and held {:?}", step.line.guards));
    }
    let before = ledger.fence(user);
    ledger.set_password(step, user, password);
    let after = ledger.fence(user);
    match ledger.chains.get_mut(&flow) {
        Some(chain) if chain.user == Some(user) && Some(chain.fence) == before => {
            chain.fence = after.unwrap_or(chain.fence);
        }
        chain => {
            let what = format!("{chain:?} of {flow} set a password under the fence {before:?}");
            ledger.complain(what);
        }
    }
    let Outcome::Tokens { user: of, issue, minted, expires_at, .. } = tokens else {
        return ledger.complain(format!("{flow} set a password and gave {tokens:?}"));
    };
    let handed = IssuedTokens { issue: issue.clone(), minted: minted.clone() };
    if let Some(chain) = ledger.chains.get_mut(&flow) {
        let same_salt = chain.handed.last().is_some_and(|last| last.issue.salt == handed.issue.salt);
        chain.salted = handed.issue.n;
        let own = chain.own();
        if same_salt {
            ledger.complain(format!("{flow} set a password and kept its salt"));
        }
        ledger.hand(step, &own, *of, handed, *expires_at);
    }
}
