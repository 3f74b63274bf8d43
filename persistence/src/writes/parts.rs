//! The writes of auth as parts of one statement: those of the steps that people wait for.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use cairn_actors::device::MOST;
use cairn_actors::effects::{NewUser, UserId, Write};
use sea_orm::DbErr;
use serde_json::{Value, json};

use crate::entity::{devices, failures, users};
use crate::records::{Cell, Hex, JsonRow, Record};
use crate::single::{Part, insert};
use crate::sql::{Column, Kind, recordset};

/// The texts, made once.
struct Texts {
    insert_users: String,
    set_password: String,
    rehash: String,
    first_sign_in: String,
    insert_failures: String,
    clear_failures: String,
    insert_devices: String,
    crowded_devices: String,
    see_devices: String,
}

static TEXTS: LazyLock<Texts> = LazyLock::new(|| {
    let condition = Part::CONDITION;
    let update = |table: &str, changed: &str, list: &[Column]| {
        let list = recordset(list);
        format!(
            r#"UPDATE "{table}" SET {changed} FROM {list} AS n WHERE "{table}"."id" = n."id" AND {condition} RETURNING 1"#
        )
    };
    let (id, at) = (("id", Kind::Bytes), ("at", Kind::BigInteger));
    let (password, of, by) = (("password", Kind::Text), ("of", Kind::Bytes), ("by", Kind::Bytes));
    let (agent, address) = (("user_agent", Kind::Text), ("client_address", Kind::Text));
    let cleared = recordset(&[of, by, at]);
    // Those that are there make room for the one that comes.
    let crowded = recordset(&[("user_id", Kind::Bytes)]);
    Texts {
        insert_users: insert::<users::Entity>("users", "id"),
        set_password: update(
            "users",
            r#""password" = n."password", "password_changed_at" = n."at", "password_suspended_at" = NULL"#,
            &[id, password, at],
        ),
        rehash: update("users", r#""password" = n."password""#, &[id, password]),
        first_sign_in: update("users", r#""signed_in_at" = n."at""#, &[id, at]),
        insert_failures: insert::<failures::Entity>("failures", "id"),
        clear_failures: format!(
            r#"DELETE FROM "failures" USING {cleared} AS n WHERE "failures"."of" = n."of" AND "failures"."by" = n."by" AND "failures"."at" <= n."at" AND {condition} RETURNING 1"#
        ),
        insert_devices: insert::<devices::Entity>("devices", "id"),
        crowded_devices: format!(
            r#"DELETE FROM "devices" WHERE {condition} AND "id" IN (SELECT "id" FROM (SELECT d."id", row_number() OVER (PARTITION BY d."user_id" ORDER BY d."last_seen_at" DESC, d."id" DESC) AS "place" FROM {crowded} AS n JOIN "devices" AS d ON d."user_id" = n."user_id") AS ranked WHERE "place" >= {MOST}) RETURNING 1"#
        ),
        see_devices: update(
            "devices",
            r#""user_agent" = n."user_agent", "client_address" = n."client_address", "last_seen_at" = n."at""#,
            &[id, agent, address, at],
        ),
    }
});

/// The lists of one batch, by kind.
#[derive(Default)]
struct Lists<'a> {
    created: Vec<&'a NewUser>,
    passwords: Vec<Value>,
    rehashed: Vec<Value>,
    signed_in: Vec<Value>,
    failed: Vec<Value>,
    cleared: Vec<Value>,
    added: Vec<Value>,
    crowded: Vec<Value>,
    seen: Vec<Value>,
    /// Users that a write is about already: two parts must not write one row.
    users: BTreeSet<UserId>,
    /// The same of their devices.
    owners: BTreeSet<UserId>,
}

impl<'a> Lists<'a> {
    /// Takes a write, if it can be a part beside those that were taken.
    fn take(&mut self, write: &'a Write) -> bool {
        match write {
            Write::CreateUser(user) => {
                self.created.push(user);
                self.users.insert(user.id)
            }
            Write::SetPassword { user, password, at } => {
                self.passwords.push(json!({ "id": Hex(user.0.bytes()), "password": password.as_text(), "at": at.0 }));
                self.users.insert(*user)
            }
            Write::Rehash { user, password, at: _ } => {
                self.rehashed.push(json!({ "id": Hex(user.0.bytes()), "password": password.as_text() }));
                self.users.insert(*user)
            }
            Write::FirstSignIn { user, at } => {
                self.signed_in.push(json!({ "id": Hex(user.0.bytes()), "at": at.0 }));
                self.users.insert(*user)
            }
            Write::CountFailure { id, of, by, at } => {
                let (id, of, by) = (Hex(id.bytes()), Hex(&of.0), Hex(&by.0));
                self.failed.push(json!({ "id": id, "of": of, "at": at.0, "by": by }));
                self.cleared.is_empty()
            }
            Write::ClearFailures { of, by, at } => {
                self.cleared.push(json!({ "of": Hex(&of.0), "by": Hex(&by.0), "at": at.0 }));
                self.failed.is_empty()
            }
            Write::AddDevice { id, user, user_agent, client_address, at } => {
                self.added.push(json!({
                    "id": Hex(id.bytes()), "user_id": Hex(user.0.bytes()), "user_agent": user_agent,
                    "client_address": client_address, "first_seen_at": at.0, "last_seen_at": at.0,
                }));
                self.crowded.push(json!({ "user_id": Hex(user.0.bytes()) }));
                self.owners.insert(*user)
            }
            Write::SeeDevice { id, user, user_agent, client_address, at } => {
                self.seen.push(json!({
                    "id": Hex(id.bytes()), "user_agent": user_agent, "client_address": client_address, "at": at.0,
                }));
                self.owners.insert(*user)
            }
            // What is rare goes in a transaction.
            Write::SuspendPassword { .. }
            | Write::SetAddress { .. }
            | Write::SetProfile { .. }
            | Write::SetDeletion { .. }
            | Write::ForgetDevice { .. }
            | Write::ForgetDevices { .. }
            | Write::DeleteUser { .. } => false,
        }
    }
}

/// A row of `users`, as a registration makes it.
impl Record for NewUser {
    fn cells(&self) -> Vec<(&'static str, Cell<'_>)> {
        let text = |text: &'_ str| Cell::Text(text.to_owned().into());
        let some = |words: Option<&str>| words.map_or(Cell::Null, text);
        let at = Cell::Number(self.at.0);
        vec![
            ("id", Cell::Bytes(self.id.0.bytes())),
            ("email", text(self.address.typed())),
            ("email_mail", text(self.address.mailed())),
            ("email_key", Cell::Bytes(&self.address_key.0)),
            ("username", some(self.username.as_ref().map(|name| name.as_str()))),
            ("first_name", some(self.first_name.as_ref().map(|name| name.as_str()))),
            ("last_name", some(self.last_name.as_ref().map(|name| name.as_str()))),
            ("password", text(self.password.as_text())),
            ("roles", text("[]")),
            ("email_verified_at", at.clone()),
            ("created_at", at.clone()),
            ("updated_at", at),
            ("version", Cell::Number(0)),
            ("deletion", Cell::Null),
            ("signed_in_at", Cell::Null),
            ("password_changed_at", Cell::Null),
            ("password_suspended_at", Cell::Null),
        ]
    }
}

/// The writes as parts; see [`crate::store::Writes::parts`].
pub(super) fn parts(writes: &[&Write]) -> Result<Option<Vec<Part>>, DbErr> {
    let mut lists = Lists::default();
    for write in writes {
        if !lists.take(write) {
            return Ok(None);
        }
    }
    let mut parts = Vec::new();
    if !lists.created.is_empty() {
        let users: Vec<JsonRow<'_, &NewUser>> = lists.created.iter().map(JsonRow).collect();
        parts.push(Part::new(TEXTS.insert_users.as_str(), &users)?);
    }
    for (text, list) in [
        (&TEXTS.set_password, lists.passwords),
        (&TEXTS.rehash, lists.rehashed),
        (&TEXTS.first_sign_in, lists.signed_in),
        (&TEXTS.insert_failures, lists.failed),
        (&TEXTS.clear_failures, lists.cleared),
        (&TEXTS.insert_devices, lists.added),
        (&TEXTS.crowded_devices, lists.crowded),
        (&TEXTS.see_devices, lists.seen),
    ] {
        if !list.is_empty() {
            parts.push(Part::new(text.as_str(), &list)?);
        }
    }
    Ok(Some(parts))
}

#[cfg(test)]
mod tests {
    use cairn_actors::address::Address;
    use cairn_actors::effects::Digest;
    use cairn_actors::hasher::SealedHash;
    use cairn_runtime::{Id, Timestamp};

    use super::*;
    use crate::sql::columns;

    fn user(number: u8) -> UserId {
        UserId(Id::from_bytes([number; 16]))
    }

    fn created(number: u8) -> Write {
        Write::CreateUser(Box::new(NewUser {
            id: user(number),
            address: Address::parse("ada@example.org").unwrap(),
            address_key: Digest([number; 32]),
            username: None,
            first_name: None,
            last_name: None,
            password: SealedHash::from_text("sealed".to_owned()),
            at: Timestamp(1),
        }))
    }

    fn count(writes: &[Write]) -> Option<usize> {
        parts(&writes.iter().collect::<Vec<_>>()).unwrap().map(|parts| parts.len())
    }

    #[test]
    fn a_new_user_has_every_column_of_the_table() {
        let Write::CreateUser(new) = created(1) else { panic!("it creates") };
        let cells: Vec<&str> = new.cells().iter().map(|(name, _)| *name).collect();
        let columns: Vec<&str> = columns::<users::Entity>().iter().map(|(name, _)| *name).collect();
        assert_eq!(cells, columns);
    }

    #[test]
    fn writes_of_one_row_take_a_transaction() {
        let at = Timestamp(2);
        let signs_in = |number| Write::FirstSignIn { user: user(number), at };
        assert_eq!(count(&[created(1), created(2), signs_in(3), signs_in(4)]), Some(2));
        assert_eq!(count(&[created(1), signs_in(1)]), None);
        let sees = |device: u8, number| Write::SeeDevice {
            id: Id::from_bytes([device; 16]),
            user: user(number),
            user_agent: None,
            client_address: None,
            at,
        };
        assert_eq!(count(&[signs_in(1), sees(1, 1), sees(2, 2)]), Some(2));
        assert_eq!(count(&[sees(1, 1), sees(2, 1)]), None);
        let (of, by) = (Digest([1; 32]), Digest([2; 32]));
        let fails = Write::CountFailure { id: Id::from_bytes([1; 16]), of, by, at };
        assert_eq!(count(&[fails.clone(), signs_in(1)]), Some(2));
        assert_eq!(count(&[fails, Write::ClearFailures { of, by, at }]), None);
        assert_eq!(count(&[Write::DeleteUser { user: user(1) }]), None);
    }
}
