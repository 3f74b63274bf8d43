//! Accounts as they change: several kinds of change to several users in one batch, what the directory reads of them, and
//! the migration that gave profiles their numbers.

use cairn_actors::directory::{Directory, EarlierSessions, KnownDevice, User};
use cairn_actors::effects::{Auth, DeviceWrite, Key, NewUser, UserWrite, Write};
use cairn_actors::flows::email_change::{self, EmailChange};
use cairn_actors::flows::registration::Registration;
use cairn_actors::flows::session::{self, Arrival, Session};
use cairn_actors::identity::device;
use cairn_actors::identity::name::PersonName;
use cairn_actors::identity::user_id::UserId;
use cairn_actors::secrets::digest::Digest;
use cairn_actors::secrets::hasher::SealedHash;
use cairn_actors::testing;
use cairn_persistence::{AuthWrites, Database};
use cairn_runtime::store::{Item, Retention, Store, Verdict};
use cairn_runtime::{Domain, Flow, FlowId, Guard, Id, InputId, Timestamp};
use sea_orm::ConnectionTrait;

use crate::auth::{Town, bumping, id, start};
use crate::support::{Kind, Place, on_both};

const ODD: &str = "Ünï'\"\\%_\u{1f980}";
const AT: Timestamp = Timestamp(1_800_000_000_000);

fn user(number: u64) -> UserId {
    UserId(id(1, number))
}

fn address(number: u64) -> String {
    format!("Person.{number}@Example.org")
}

fn new(town: &Town, number: u64) -> NewUser {
    let address = testing::address(&address(number));
    NewUser {
        id: user(number),
        address_key: town.environment.address_key(&address),
        address,
        username: Some(testing::username(&format!("person{number}"))),
        first_name: Some(testing::person_name(ODD)),
        last_name: None,
        password: SealedHash::from_text(format!("hash {number}")),
        at: AT,
    }
}

/// Items without a flow, one a list of writes, in one batch.
async fn batch(town: &Town, number: u64, items: Vec<(Vec<Guard<String>>, Vec<Write>)>) {
    let items: Vec<Item<Auth>> = items
        .into_iter()
        .enumerate()
        .map(|(place, (guards, writes))| {
            let input = InputId(id(1_000 + number, u64::try_from(place).unwrap()));
            Item { guards, writes, ..Item::of(input, AT) }
        })
        .collect();
    let verdicts = town.store(0).commit(&items).await.unwrap();
    assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Done), "{verdicts:?}");
}

async fn founded(town: &Town, count: u64) {
    let items = (0..count).map(|number| {
        let new = new(town, number);
        let keys = [Key::Address(new.address_key), Key::User(new.id), Key::Profile(new.id), Key::Devices(new.id)];
        let guards = keys.iter().map(|key| Guard::Claim(Auth::guard(key))).collect();
        (guards, vec![Write::User(UserWrite::Create(Box::new(new)))])
    });
    batch(town, 0, items.collect()).await;
}

fn directory(town: &Town) -> Directory {
    town.database(0).directory()
}

async fn read(town: &Town, number: u64) -> User {
    directory(town).users.by_id(user(number)).await.unwrap().expect("the user is there")
}

/// All that a change may touch, as text.
fn shown(user: &User) -> String {
    let name = |name: &Option<PersonName>| name.as_ref().map(|name| name.as_str().to_owned());
    format!(
        "{} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {}",
        user.address.typed(),
        user.username.as_ref().map(ToString::to_string),
        name(&user.first_name),
        name(&user.last_name),
        user.password.as_ref().map(SealedHash::as_text),
        user.deletion,
        user.signed_in_at,
        user.password_changed_at,
        user.version,
    )
}

async fn a_batch_changes_each_user_as_it_says_and_nobody_else(kind: Kind) {
    let town = Town::new(kind, 1).await;
    founded(&town, 8).await;
    let untouched = shown(&read(&town, 7).await);
    let later = Timestamp(AT.0 + 1);
    let moved = |number: u64, text: &str| {
        let address = testing::address(text);
        Write::User(UserWrite::SetAddress {
            user: user(number),
            address_key: town.environment.address_key(&address),
            address,
            at: later,
        })
    };
    let named = |number: u64, username: Option<&str>, first: Option<&str>, last: Option<&str>| {
        Write::User(UserWrite::SetProfile {
            user: user(number),
            username: username.map(testing::username),
            first_name: first.map(testing::person_name),
            last_name: last.map(testing::person_name),
            at: later,
        })
    };
    let deletion = FlowId(id(7, 7));
    let suspend = |number: u64| Write::User(UserWrite::SuspendPassword { user: user(number), at: later });
    let set = |number: u64| {
        Write::User(UserWrite::SetPassword {
            user: user(number),
            password: SealedHash::from_text(format!("another {ODD}")),
            at: later,
        })
    };
    let items = vec![
        vec![moved(0, "Zero@Bücher.example")],
        vec![named(1, None, None, Some(ODD))],
        // Taken from the one before, in the same statement.
        vec![named(2, Some("second"), Some("Zwei"), None)],
        vec![Write::User(UserWrite::SetDeletion { user: user(3), flow: Some(deletion), at: later })],
        vec![Write::User(UserWrite::FirstSignIn { user: user(4), at: later })],
        vec![set(4)],
        vec![Write::User(UserWrite::Delete { user: user(5) })],
        // A step that touches the profile twice counts once: its guard is raised once.
        vec![
            moved(6, "six@example.org"),
            Write::User(UserWrite::SetDeletion { user: user(6), flow: None, at: later }),
            set(6),
        ],
        vec![Write::User(UserWrite::Create(Box::new(new(&town, 9))))],
        vec![suspend(1)],
    ];
    batch(&town, 1, items.into_iter().map(|writes| (Vec::new(), writes)).collect()).await;

    let zero = read(&town, 0).await;
    assert_eq!((zero.address.typed(), zero.address.mailed()), ("Zero@Bücher.example", "Zero@xn--bcher-kva.example"));
    assert_eq!((zero.version, zero.updated_at, zero.created_at), (1, later, AT));
    let found =
        directory(&town).users.by_address(town.environment.address_key(&testing::address("zero@BÜCHER.example"))).await;
    assert_eq!(found.unwrap().map(|found| found.id), Some(user(0)));
    let before = directory(&town).users.by_address(town.environment.address_key(&testing::address(&address(0)))).await;
    assert!(before.unwrap().is_none());

    let one = read(&town, 1).await;
    assert_eq!((one.username.is_none(), one.first_name.is_none(), one.version), (true, true, 1));
    assert_eq!(one.last_name.as_ref().map(PersonName::as_str), Some(ODD));
    assert!(one.password.is_none(), "out of force");
    batch(&town, 2, vec![(Vec::new(), vec![set(1)])]).await;
    assert!(read(&town, 1).await.password.is_some(), "another is in force");
    let two = read(&town, 2).await;
    assert_eq!(two.name().as_deref(), Some("Zwei"));
    let found = directory(&town).users.by_username(&testing::username("second")).await.unwrap();
    assert_eq!(found.map(|found| found.id), Some(user(2)));

    let three = read(&town, 3).await;
    assert_eq!((three.deletion, three.version, three.password_changed_at), (Some(deletion), 1, None));
    let four = read(&town, 4).await;
    assert_eq!((four.signed_in_at, four.password_changed_at), (Some(later), Some(later)));
    assert_eq!((four.version, four.updated_at), (0, AT), "neither is part of the profile");
    assert_eq!(four.password.as_ref().map(SealedHash::as_text), Some(format!("another {ODD}").as_str()));
    assert!(directory(&town).users.by_id(user(5)).await.unwrap().is_none());
    let six = read(&town, 6).await;
    assert_eq!((six.address.typed(), six.deletion, six.version), ("six@example.org", None, 1));
    assert_eq!(shown(&read(&town, 7).await), untouched);
    assert_eq!(read(&town, 9).await.signed_in_at, None);
}

async fn what_a_user_gives_up_another_takes_in_the_same_batch(kind: Kind) {
    let town = Town::new(kind, 1).await;
    founded(&town, 3).await;
    let taken = Write::User(UserWrite::SetProfile {
        user: user(1),
        username: Some(testing::username("person0")),
        first_name: None,
        last_name: None,
        at: AT,
    });
    let moved = testing::address(&address(0));
    let moved = Write::User(UserWrite::SetAddress {
        user: user(2),
        address_key: town.environment.address_key(&moved),
        address: moved,
        at: AT,
    });
    let items = vec![vec![taken], vec![moved], vec![Write::User(UserWrite::Delete { user: user(0) })]];
    batch(&town, 1, items.into_iter().map(|writes| (Vec::new(), writes)).collect()).await;
    assert_eq!(read(&town, 1).await.username.map(|name| name.to_string()), Some("person0".to_owned()));
    assert_eq!(read(&town, 2).await.address.typed(), address(0));
}

async fn numbers_are_read_with_the_user_and_follow_their_guards(kind: Kind) {
    let town = Town::new(kind, 1).await;
    founded(&town, 2).await;
    let first = read(&town, 0).await;
    assert_eq!((first.fence, first.number, first.devices, first.version), (0, 0, 0, 0));
    let devices = || Key::Devices(user(0));
    let raised = [
        Key::User(user(0)),
        Key::User(user(0)),
        Key::Address(new(&town, 0).address_key),
        devices(),
        devices(),
        devices(),
    ];
    for (number, key) in raised.iter().enumerate() {
        let guards = vec![Guard::Bump(Auth::guard(key), None)];
        batch(&town, 10 + u64::try_from(number).unwrap(), vec![(guards, Vec::new())]).await;
    }
    let first = read(&town, 0).await;
    assert_eq!((first.fence, first.number, first.devices), (2, 1, 3));
    let by_name = directory(&town).users.by_username(&testing::username("person0")).await.unwrap().unwrap();
    let by_address = directory(&town).users.by_address(new(&town, 0).address_key).await.unwrap().unwrap();
    assert_eq!((by_name.fence, by_name.number, by_address.fence, by_address.number), (2, 1, 2, 1));
    assert!(directory(&town).sessions.with_user(FlowId(id(9, 9))).await.unwrap().is_none());
    let other = read(&town, 1).await;
    assert_eq!((other.fence, other.number), (0, 0));
}

/// A device that an account of this number has.
fn device(number: u64, place: u64) -> Id {
    id(20 + number, place)
}

fn added(number: u64, place: u64, at: Timestamp) -> Write {
    let (user_agent, client_address) = (Some(ODD.to_owned()), Some("192.0.2.1".to_owned()));
    Write::Device(DeviceWrite::Add { id: device(number, place), user: user(number), user_agent, client_address, at })
}

async fn devices(town: &Town, number: u64) -> Vec<KnownDevice> {
    directory(town).devices.of(user(number)).await.unwrap()
}

async fn devices_are_added_seen_again_and_forgotten_each_by_itself(kind: Kind) {
    let town = Town::new(kind, 1).await;
    founded(&town, 4).await;
    let later = |seconds: i64| Timestamp(AT.0 + seconds * 1_000);
    let first = [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (3, 0)];
    let items = first.map(|(number, place)| vec![added(number, place, later(i64::try_from(place).unwrap()))]);
    batch(&town, 1, items.into_iter().map(|writes| (Vec::new(), writes)).collect()).await;
    let known = devices(&town, 0).await;
    assert_eq!(known.iter().map(|known| known.id).collect::<Vec<_>>(), [device(0, 2), device(0, 1), device(0, 0)]);
    assert_eq!(known[0].user_agent.as_deref(), Some(ODD));
    assert_eq!((known[0].first_seen_at, known[0].last_seen_at), (later(2), later(2)));

    let seen = |place: u64, agent: Option<&str>| {
        Write::Device(DeviceWrite::See {
            id: device(0, place),
            user: user(0),
            user_agent: agent.map(str::to_owned),
            client_address: None,
            at: later(60 + i64::try_from(place).unwrap()),
        })
    };
    let items = vec![
        vec![seen(0, None)],
        vec![seen(1, Some("another agent"))],
        // Seen and forgotten at once: it is forgotten.
        vec![seen(2, None)],
        vec![Write::Device(DeviceWrite::Forget { id: device(0, 2), user: user(0) })],
        // Another account's device is not theirs to forget.
        vec![Write::Device(DeviceWrite::Forget { id: device(1, 0), user: user(0) })],
        vec![Write::Device(DeviceWrite::ForgetAll { user: user(2) })],
        vec![Write::User(UserWrite::Delete { user: user(3) })],
    ];
    batch(&town, 2, items.into_iter().map(|writes| (Vec::new(), writes)).collect()).await;
    // One that was forgotten does not come back by being seen.
    batch(&town, 3, vec![(Vec::new(), vec![seen(2, None)])]).await;
    let known = devices(&town, 0).await;
    assert_eq!(known.iter().map(|known| known.id).collect::<Vec<_>>(), [device(0, 1), device(0, 0)]);
    assert_eq!((known[0].user_agent.as_deref(), known[1].user_agent.as_deref()), (Some("another agent"), None));
    assert_eq!((known[1].first_seen_at, known[1].last_seen_at), (later(0), later(60)));
    assert_eq!(
        [devices(&town, 1).await.len(), devices(&town, 2).await.len(), devices(&town, 3).await.len()],
        [1, 0, 0]
    );

    let directory = directory(&town);
    let knows = async |number, device| directory.devices.knows(user(number), device).await.unwrap();
    assert!(knows(0, device(0, 0)).await && knows(1, device(1, 0)).await);
    assert!(!knows(0, device(0, 2)).await && !knows(0, device(1, 0)).await && !knows(3, device(3, 0)).await);
}

async fn with_one_device_too_many_the_one_seen_longest_ago_is_forgotten(kind: Kind) {
    let town = Town::new(kind, 1).await;
    founded(&town, 2).await;
    let at = |place: u64| Timestamp(AT.0 + i64::try_from(place).unwrap());
    let most = u64::from(device::MOST);
    let items = (0..most).map(|place| (Vec::new(), vec![added(0, place, at(place))])).collect();
    batch(&town, 1, items).await;
    batch(&town, 2, vec![(Vec::new(), vec![added(1, 0, at(0))])]).await;
    assert_eq!(devices(&town, 0).await.len(), most as usize);
    let items = (most..most + 3).map(|place| (Vec::new(), vec![added(0, place, at(place))])).collect();
    batch(&town, 3, items).await;
    let known = devices(&town, 0).await;
    assert_eq!((known.len(), known.last().map(|last| last.id)), (most as usize, Some(device(0, 3))));
    assert!(!directory(&town).devices.knows(user(0), device(0, 2)).await.unwrap(), "it is not only unlisted");
    assert_eq!(devices(&town, 1).await.len(), 1, "another account's are its own");
}

async fn a_device_that_was_not_seen_for_a_year_is_swept(kind: Kind) {
    let town = Town::new(kind, 1).await;
    founded(&town, 1).await;
    let now = Timestamp(AT.0 + 500 * 86_400_000);
    let ago = |days: i64| Timestamp(now.0 - days * 86_400_000);
    batch(&town, 1, vec![(Vec::new(), vec![added(0, 0, ago(367)), added(0, 1, ago(364))])]).await;
    let retention = Retention { now, payloads_before: ago(1), rows_before: ago(30), limit: 100 };
    town.store(0).retain(retention).await.unwrap();
    let left: Vec<Id> = devices(&town, 0).await.into_iter().map(|known| known.id).collect();
    assert_eq!(left, [device(0, 1)]);
}

/// A database as the release before devices left it: its tables, and a user in it.
async fn without_devices(place: &Place) -> Database {
    let database = place.open().await;
    let undo = [
        "DROP TABLE devices",
        "ALTER TABLE users DROP COLUMN password_suspended_at",
        "DELETE FROM guards",
        "DELETE FROM seaql_migrations WHERE version = 'm20261130_000008_devices'",
    ];
    for statement in undo {
        database.writer().execute_unprepared(statement).await.unwrap();
    }
    database
}

async fn users_of_an_earlier_release_get_a_number_for_their_devices(kind: Kind) {
    let place = Place::new(kind).await;
    let database = without_devices(&place).await;
    let id = match kind {
        Kind::Sqlite => "x'000102030405060708090a0b0c0d0eff'",
        Kind::Postgres => r"'\x000102030405060708090a0b0c0d0eff'::bytea",
    };
    let row = format!(
        "INSERT INTO users (id, email, email_mail, email_key, roles, created_at, updated_at, version, password)
         VALUES ({id}, 'a@example.org', 'a@example.org', {id}, '[]', 5, 6, 0, 'hash')"
    );
    database.writer().execute_unprepared(&row).await.unwrap();
    database.close().await.unwrap();
    drop(database);

    let database = place.open().await;
    let user = UserId(Id::from_bytes([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]));
    let directory = database.directory();
    let before = directory.users.by_id(user).await.unwrap().unwrap();
    assert_eq!((before.devices, before.password.is_some()), (0, true));
    let mut item = Item::<Auth>::of(InputId(Id::v7(1, [1; 10])), AT);
    item.guards = vec![Guard::Bump(Auth::guard(&Key::Devices(user)), Some(0))];
    item.writes = vec![Write::User(UserWrite::SuspendPassword { user, at: AT })];
    assert_eq!(database.store::<Auth, _>(AuthWrites).commit(&[item]).await.unwrap(), [Verdict::Done]);
    let after = directory.users.by_id(user).await.unwrap().unwrap();
    assert_eq!((after.devices, after.password.is_some()), (1, false));
}

async fn the_flows_of_a_user_are_found_last_touched_first(kind: Kind) {
    let town = Town::new(kind, 1).await;
    founded(&town, 2).await;
    let node = town.node(0, town.store(0), town.clock.clone()).await;
    let engine = &node.engine;
    let (here, there) = (Digest([1; 32]), Digest([2; 32]));
    let begin = async |number: u64, place: Digest| {
        town.clock.advance(std::time::Duration::from_secs(1));
        let arrival = Arrival { place: Some(place), ..Arrival::default() };
        let (amr, device, client_address) = (vec!["pwd".to_owned()], None, None);
        let start = session::Start {
            user: user(number),
            fence: 0,
            devices: 0,
            amr,
            device,
            client_address,
            arrival,
            forgets: None,
        };
        engine.start::<Session>(engine.asker("test"), start).await.unwrap().flow
    };
    let (one, two) = (begin(0, here).await, begin(0, here).await);
    let strangers = begin(1, here).await;
    town.clock.advance(std::time::Duration::from_secs(1));
    let to = testing::address("new@example.org");
    let from = (Digest([3; 32]), 0);
    let start = email_change::Start {
        user: user(0),
        fence: 0,
        devices: 0,
        from,
        address: to,
        known: false,
        waiting: Vec::new(),
        by: testing::STRANGER,
    };
    let change = engine.start::<EmailChange>(engine.asker("test"), start).await.unwrap().flow;
    let directory = directory(&town);
    let ids = |rows: Vec<cairn_runtime::store::Row>| rows.into_iter().map(|row| row.id).collect::<Vec<_>>();
    assert_eq!(ids(directory.sessions.of(user(0), 10).await.unwrap()), [two, one]);
    assert_eq!(ids(directory.sessions.of(user(0), 1).await.unwrap()), [two]);
    assert_eq!(ids(directory.sessions.of(user(1), 10).await.unwrap()), [strangers]);
    assert_eq!(ids(directory.flows.of(user(0), None, 10).await.unwrap()), [change, two, one]);
    for (room, beyond) in [(0, vec![two, one]), (1, vec![one]), (2, vec![])] {
        let known = EarlierSessions { knows_place: true, beyond };
        assert_eq!(directory.sessions.earlier_sessions(user(0), here, room).await.unwrap(), known, "room for {room}");
    }
    assert_eq!(ids(directory.flows.of(user(0), Some("email_change"), 10).await.unwrap()), [change]);
    assert_eq!(
        ids(directory.flows.changes(user(0), 10).await.unwrap()),
        [],
        "it changed nothing yet, and crowds nothing out"
    );

    town.clock.advance(std::time::Duration::from_secs(1));
    engine.call::<Session>(one, engine.asker("test"), session::Command::Revoke).await.unwrap();
    assert_eq!(ids(directory.sessions.of(user(0), 10).await.unwrap()), [two]);
    assert_eq!(ids(directory.flows.of(user(0), None, 10).await.unwrap()), [one, change, two]);
    engine.call::<Session>(strangers, engine.asker("test"), session::Command::Revoke).await.unwrap();
    engine.call::<Session>(two, engine.asker("test"), session::Command::Revoke).await.unwrap();
    let visits = async |place: Digest| directory.sessions.earlier_sessions(user(0), place, 0).await.unwrap();
    assert!(visits(here).await.knows_place, "a place is known though every session from there has ended");
    assert_eq!(visits(there).await, EarlierSessions::default());

    let history = directory.history.of(user(0), None, 100).await.unwrap();
    let names: Vec<(&str, &str)> = history.iter().map(|event| (event.kind.as_str(), event.name.as_str())).collect();
    let (revoked, begun) = (("session", "revoke"), ("session", "sign_in"));
    assert_eq!(names, [revoked, revoked, ("email_change", "change_email"), begun, begun]);
    assert!(history.windows(2).all(|two| two[0].at >= two[1].at), "newest first");
    assert_eq!(directory.history.of(user(0), None, 2).await.unwrap().len(), 2);
    assert!(history.iter().all(|event| !event.public.contains("new@example.org")), "{history:?}");
    node.end().await;
}

async fn what_a_moved_fence_ended_is_still_listed_and_told_by_its_number(kind: Kind) {
    let town = Town::new(kind, 1).await;
    founded(&town, 1).await;
    let node = town.node(0, town.store(0), town.clock.clone()).await;
    let engine = &node.engine;
    let (amr, device, client_address) = (vec!["pwd".to_owned()], None, None);
    let arrival = Arrival::default();
    let start =
        session::Start { user: user(0), fence: 0, devices: 0, amr, device, client_address, arrival, forgets: None };
    let flow = engine.start::<Session>(engine.asker("test"), start).await.unwrap().flow;
    engine.act("bump", engine.asker("test"), bumping(user(0))).await.unwrap();
    let found = directory(&town).sessions.with_user(flow).await.unwrap().unwrap();
    assert_eq!(found.user.id, user(0));
    let state: Session = engine.read::<Session>(found.session).unwrap().state;
    assert_eq!((found.user.fence, state.active().map(|active| active.fence)), (1, Some(0)));
    assert_eq!(directory(&town).sessions.of(user(0), 10).await.unwrap().len(), 1);
    engine.call::<Session>(flow, engine.asker("test"), session::Command::Revoke).await.unwrap();
    let ended = directory(&town).sessions.with_user(flow).await.unwrap().expect("its row is kept for a while");
    let state: Session = engine.read::<Session>(ended.session).unwrap().state;
    assert_eq!((ended.user.id, state.active().is_some()), (user(0), false));
    node.end().await;
}

/// A database as the release before this migration left it: its tables, a user in it, and no number of their profile.
async fn brought_back(place: &Place) -> Database {
    let database = place.open().await;
    let undo = [
        "ALTER TABLE users DROP COLUMN deletion",
        "ALTER TABLE users DROP COLUMN signed_in_at",
        "ALTER TABLE users DROP COLUMN password_changed_at",
        "DELETE FROM guards",
        "DELETE FROM seaql_migrations WHERE version = 'm20261121_000004_accounts'",
    ];
    for statement in undo {
        database.writer().execute_unprepared(statement).await.unwrap();
    }
    database
}

async fn users_of_an_earlier_release_get_a_number_for_their_profiles(kind: Kind) {
    let place = Place::new(kind).await;
    let database = brought_back(&place).await;
    let environment = testing::environment(1);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for (number, version) in [(0, 0), (1, 41)] {
        let address = testing::address(&address(number));
        let (id, key) = (hex(user(number).0.bytes()), hex(&environment.address_key(&address).0));
        let bytes = |hex: &str| match kind {
            Kind::Sqlite => format!("x'{hex}'"),
            Kind::Postgres => format!("'\\x{hex}'::bytea"),
        };
        let row = format!(
            "INSERT INTO users (id, email, email_mail, email_key, roles, created_at, updated_at, version)
             VALUES ({}, '{}', '{}', {}, '[]', 5, 6, {version})",
            bytes(&id),
            address.typed(),
            address.mailed(),
            bytes(&key),
        );
        database.writer().execute_unprepared(&row).await.unwrap();
        for guard in [Key::User(user(number)), Key::Address(environment.address_key(&address))] {
            let row = format!(r#"INSERT INTO guards ("key", "value") VALUES ('{}', 3)"#, Auth::guard(&guard));
            database.writer().execute_unprepared(&row).await.unwrap();
        }
    }
    database.close().await.unwrap();
    drop(database);

    let database = place.open().await;
    let store = database.store::<Auth, _>(AuthWrites);
    for (number, version) in [(0, 0), (1, 41)] {
        let found = database.directory().users.by_id(user(number)).await.unwrap().unwrap();
        assert_eq!((found.version, found.fence, found.number), (version, 3, 3));
        assert_eq!((found.deletion, found.signed_in_at, found.password_changed_at), (None, None, None));
        // The number is the version's: an edit of what was read before the release is an edit after it.
        let mut item = Item::<Auth>::of(InputId(Id::v7(1, [u8::try_from(number).unwrap(); 10])), AT);
        item.guards = vec![Guard::Bump(Auth::guard(&Key::Profile(user(number))), Some(version))];
        let (username, first_name, last_name) = (None, None, Some(testing::person_name(ODD)));
        item.writes =
            vec![Write::User(UserWrite::SetProfile { user: user(number), username, first_name, last_name, at: AT })];
        assert_eq!(store.commit(&[item]).await.unwrap(), [Verdict::Done]);
        let edited = database.directory().users.by_id(user(number)).await.unwrap().unwrap();
        assert_eq!((edited.version, edited.updated_at), (version + 1, AT));
    }
}

async fn the_audit_names_flows_as_every_answer_does(kind: Kind) {
    let town = Town::new(kind, 1).await;
    let node = town.node(0, town.store(0), town.clock.clone()).await;
    let asker = node.engine.asker("test");
    let flow = node.engine.start::<Registration>(asker, start("late@example.org", None)).await.unwrap().flow;
    node.rests().await;
    for odd in ["UPDATE flows SET version = 9", "UPDATE outbox SET settled = NULL, claimed_until = NULL"] {
        town.database(0).writer().execute_unprepared(odd).await.unwrap();
    }
    let later = node.engine.now().after(std::time::Duration::from_secs(40 * 86_400));
    let audit = town.store(0).audit(later).await.unwrap();
    let name = flow.0.text(Registration::PREFIX);
    let found: Vec<(&str, &str)> = audit
        .findings
        .iter()
        .map(|found| (found.invariant.as_str(), found.flow.as_deref().unwrap_or_default()))
        .collect();
    assert_eq!(found, [("I2", name.as_str()), ("I5", &name), ("I7", &name)]);
    node.end().await;
}

on_both!(
    a_batch_changes_each_user_as_it_says_and_nobody_else,
    what_a_user_gives_up_another_takes_in_the_same_batch,
    numbers_are_read_with_the_user_and_follow_their_guards,
    the_flows_of_a_user_are_found_last_touched_first,
    what_a_moved_fence_ended_is_still_listed_and_told_by_its_number,
    users_of_an_earlier_release_get_a_number_for_their_profiles,
    devices_are_added_seen_again_and_forgotten_each_by_itself,
    with_one_device_too_many_the_one_seen_longest_ago_is_forgotten,
    a_device_that_was_not_seen_for_a_year_is_swept,
    users_of_an_earlier_release_get_a_number_for_their_devices,
    the_audit_names_flows_as_every_answer_does,
);
