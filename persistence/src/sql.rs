//! The statements of the commit, whose text is the same whatever the batch holds, so that each is prepared once.
//!
//! A batch comes as one parameter, a JSON list, which the database unfolds into rows. SeaORM's builder has no word for
//! functions that give tables (`json_each`, `json_to_recordset`), so these texts are put together here, from one list
//! of columns a table and for both databases alike.

use sea_orm::{DbBackend, IdenStatic, Iterable, Statement};

use crate::entity::{events, flows, guards, outbox};

/// How a column travels in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// As hexadecimal text.
    Bytes,
    Text,
    Integer,
    BigInteger,
    Boolean,
}

/// A column's name, and how it travels.
type Column = (&'static str, Kind);

/// All statements of the commit, for one of the two databases.
#[derive(Debug)]
pub(crate) struct Texts {
    backend: DbBackend,
    /// Inputs → their events.
    pub(crate) find_events: String,
    /// Ids → id, version and quarantine of those that are there, locked in order.
    pub(crate) lock_flows: String,
    /// Keys → key and number of those that are there, locked in order against change.
    pub(crate) share_guards: String,
    /// The same, locked for change.
    pub(crate) lock_guards: String,
    /// Ids → id and end of the deliveries that are there, locked in order.
    pub(crate) lock_outbox: String,
    /// Guards → the keys that nobody had.
    pub(crate) claim_guards: String,
    /// Rows → the ids that nobody had.
    pub(crate) insert_flows: String,
    /// Events → the inputs that nobody had.
    pub(crate) insert_events: String,
    /// Keys.
    pub(crate) delete_guards: String,
    /// Ids.
    pub(crate) delete_flows: String,
    /// Inputs.
    pub(crate) delete_events: String,
    /// Rows that are there, at their version before.
    pub(crate) update_flows: String,
    /// Guards that are there.
    pub(crate) update_guards: String,
    /// Deliveries.
    pub(crate) insert_outbox: String,
    /// Ends of deliveries.
    pub(crate) settle_outbox: String,
    /// Open deliveries, put off.
    pub(crate) postpone_outbox: String,
    /// Keys, and one flow's id → their numbers, and its version.
    pub(crate) check: String,
}

impl Texts {
    pub(crate) fn new(backend: DbBackend) -> Self {
        let flow_columns = columns::<flows::Entity>();
        let event_columns = columns::<events::Entity>();
        let guard_columns = columns::<guards::Entity>();
        let outbox_columns = columns::<outbox::Entity>();
        let (for_share, for_update) = match backend {
            DbBackend::Postgres => (" FOR SHARE OF t", " FOR UPDATE OF t"),
            _ => ("", ""), // BEGIN IMMEDIATE has locked all there is
        };
        let find = |table: &str, key: Column, wanted: &str, lock: &str| {
            let name = key.0;
            let list = list(backend, key, 1);
            format!(
                r#"SELECT {wanted} FROM "{table}" AS t JOIN {list} AS n ON t."{name}" = n."{name}" ORDER BY t."{name}"{lock}"#
            )
        };
        let delete = |table: &str, key: Column| {
            let name = key.0;
            let list = list(backend, key, 1);
            format!(r#"DELETE FROM "{table}" WHERE "{name}" IN (SELECT "{name}" FROM {list} AS n)"#)
        };
        let insert = |table: &str, columns: &[Column], key: &str| {
            let names = names(columns, "");
            let rows = rows(backend, columns);
            // Sorted, so that two nodes that insert the same wait for each other in one direction only.
            format!(
                r#"INSERT INTO "{table}" ({names}) SELECT {names} FROM {rows} AS n WHERE true ORDER BY "{key}" ON CONFLICT DO NOTHING RETURNING "{key}""#
            )
        };
        let upsert = |table: &str, columns: &[Column], key: &str, condition: &str| {
            let all = names(columns, "");
            let rows = rows(backend, columns);
            let changed: Vec<String> = columns
                .iter()
                .filter(|(name, _)| *name != key)
                .map(|(name, _)| format!(r#""{name}" = excluded."{name}""#))
                .collect();
            let changed = changed.join(", ");
            format!(
                r#"INSERT INTO "{table}" ({all}) SELECT {all} FROM {rows} AS n WHERE true ORDER BY "{key}" ON CONFLICT ("{key}") DO UPDATE SET {changed}{condition}"#
            )
        };
        let key = |name| (name, Kind::Bytes);
        let input = key("input");
        let id = key("id");
        let word = ("key", Kind::Text);
        let settle = [id, ("settled", Kind::BigInteger), ("note", Kind::Text), ("dead", Kind::Boolean)];
        let postpone = [id, ("due", Kind::BigInteger), ("note", Kind::Text), ("uncounted", Kind::Integer)];
        let check_keys = list(backend, word, 1);
        let check_flow = match backend {
            DbBackend::Postgres => "decode($2, 'hex')",
            _ => "unhex(?2)",
        };
        let insert_outbox = format!(
            r#"INSERT INTO "outbox" ({names}) SELECT {names} FROM {rows} AS n WHERE true ORDER BY "id""#,
            names = names(&outbox_columns, ""),
            rows = rows(backend, &outbox_columns),
        );
        Self {
            backend,
            find_events: find("events", input, &names(&event_columns, "t."), ""),
            lock_flows: find("flows", id, r#"t."id", t."version", t."quarantined_at""#, for_update),
            share_guards: find("guards", word, r#"t."key", t."value""#, for_share),
            lock_guards: find("guards", word, r#"t."key", t."value""#, for_update),
            lock_outbox: find("outbox", id, r#"t."id", t."settled""#, for_update),
            claim_guards: insert("guards", &guard_columns, "key"),
            insert_flows: insert("flows", &flow_columns, "id"),
            insert_events: insert("events", &event_columns, "input"),
            delete_guards: delete("guards", word),
            delete_flows: delete("flows", id),
            delete_events: delete("events", input),
            update_flows: upsert("flows", &flow_columns, "id", r#" WHERE "flows"."version" < excluded."version""#),
            update_guards: upsert("guards", &guard_columns, "key", ""),
            insert_outbox,
            settle_outbox: format!(
                r#"UPDATE "outbox" SET "settled" = n."settled", "note" = n."note", "dead" = n."dead", "claimed_until" = NULL, "claimed_by" = NULL FROM {rows} AS n WHERE "outbox"."id" = n."id""#,
                rows = rows(backend, &settle),
            ),
            postpone_outbox: format!(
                r#"UPDATE "outbox" SET "due" = n."due", "note" = n."note", "claimed_until" = NULL, "claimed_by" = NULL, "attempts" = CASE WHEN "attempts" > n."uncounted" THEN "attempts" - n."uncounted" ELSE 0 END FROM {rows} AS n WHERE "outbox"."id" = n."id" AND "outbox"."settled" IS NULL"#,
                rows = rows(backend, &postpone),
            ),
            check: format!(
                r#"SELECT t."key" AS "key", t."value" AS "value" FROM "guards" AS t JOIN {check_keys} AS n ON t."key" = n."key" UNION ALL SELECT NULL AS "key", t."version" AS "value" FROM "flows" AS t WHERE t."id" = {check_flow}"#
            ),
        }
    }

    /// A statement with its one parameter.
    pub(crate) fn with(&self, text: &str, json: String) -> Statement {
        Statement::from_sql_and_values(self.backend, text, [json.into()])
    }

    /// A statement with two parameters.
    pub(crate) fn with_two(&self, text: &str, json: String, second: String) -> Statement {
        Statement::from_sql_and_values(self.backend, text, [json.into(), second.into()])
    }
}

/// A table's columns in the order of its model, which is the one place that lists them.
fn columns<E: sea_orm::EntityTrait>() -> Vec<Column> {
    use sea_orm::{ColumnTrait, ColumnType};
    E::Column::iter()
        .map(|column| {
            let kind = match column.def().get_column_type() {
                ColumnType::Binary(_) | ColumnType::VarBinary(_) | ColumnType::Blob => Kind::Bytes,
                ColumnType::Integer => Kind::Integer,
                ColumnType::BigInteger => Kind::BigInteger,
                ColumnType::Boolean => Kind::Boolean,
                _ => Kind::Text,
            };
            (column.as_str(), kind)
        })
        .collect()
}

fn names(columns: &[Column], prefix: &str) -> String {
    let quoted: Vec<String> = columns.iter().map(|(name, _)| format!(r#"{prefix}"{name}""#)).collect();
    quoted.join(", ")
}

/// The first parameter, a JSON list of objects, as a table of these columns.
fn rows(backend: DbBackend, columns: &[Column]) -> String {
    let postgres = backend == DbBackend::Postgres;
    let wanted: Vec<String> = columns
        .iter()
        .map(|(name, kind)| match (postgres, kind) {
            (true, Kind::Bytes) => format!(r#"decode(r."{name}", 'hex') AS "{name}""#),
            (true, _) => format!(r#"r."{name}""#),
            (false, Kind::Bytes) => format!(r#"unhex(r.value ->> '{name}') AS "{name}""#),
            (false, _) => format!(r#"r.value ->> '{name}' AS "{name}""#),
        })
        .collect();
    let wanted = wanted.join(", ");
    if !postgres {
        return format!("(SELECT {wanted} FROM jsonb_each(?1) AS r)");
    }
    let typed: Vec<String> = columns
        .iter()
        .map(|(name, kind)| {
            let kind = match kind {
                Kind::Bytes | Kind::Text => "text",
                Kind::Integer => "integer",
                Kind::BigInteger => "bigint",
                Kind::Boolean => "boolean",
            };
            format!(r#""{name}" {kind}"#)
        })
        .collect();
    let typed = typed.join(", ");
    format!("(SELECT {wanted} FROM json_to_recordset($1::json) AS r({typed}))")
}

/// A parameter, a JSON list of texts, as a table of one column.
fn list(backend: DbBackend, (name, kind): Column, place: u8) -> String {
    match (backend, kind) {
        (DbBackend::Postgres, Kind::Bytes) => {
            format!(r#"(SELECT decode(r.v, 'hex') AS "{name}" FROM json_array_elements_text(${place}::json) AS r(v))"#)
        }
        (DbBackend::Postgres, _) => {
            format!(r#"(SELECT r.v AS "{name}" FROM json_array_elements_text(${place}::json) AS r(v))"#)
        }
        (_, Kind::Bytes) => format!(r#"(SELECT unhex(r.value) AS "{name}" FROM json_each(?{place}) AS r)"#),
        (..) => format!(r#"(SELECT r.value AS "{name}" FROM json_each(?{place}) AS r)"#),
    }
}
