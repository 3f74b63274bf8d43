//! The statements of the commit, whose texts are few whatever the batch holds, so that each is prepared once.
//!
//! A list of keys comes as one parameter, a JSON list, which the database unfolds. So do rows on PostgreSQL. On SQLite
//! they come as `VALUES` in powers of two, filled up with nulls, because unfolding wide rows from JSON took twice as
//! long there (0.6 ms for 64 rows of 18 columns, against 0.3); on PostgreSQL both took the same. SeaORM's builder has no
//! word for functions that give tables (`json_each`, `json_to_recordset`) nor for an insertion from `VALUES` that drops
//! some, so these texts are put together here, from one list of columns a table and for both databases alike.

use sea_orm::{ColumnTrait, ColumnType, DbBackend, DbErr, EntityTrait, IdenStatic, Iterable, Statement, Value};
use serde::Serialize;

use crate::entity::{events, flows, guards, outbox};
use crate::records::{JsonRow, Record, json};

/// Rows that one statement takes at most: SQLite counts 32 766 values.
pub(crate) const ROWS: usize = 1_024;

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
pub(crate) type Column = (&'static str, Kind);

/// A statement over a list of keys.
#[derive(Debug)]
pub(crate) struct Keyed(String);

/// A statement over a list of rows: what stands before the list, its columns, and what stands after it.
#[derive(Debug)]
pub(crate) struct Wide {
    before: String,
    columns: Vec<Column>,
    after: String,
    /// The whole text, where it is one whatever the number of rows.
    whole: Option<String>,
}

/// All statements of the commit, for one of the two databases.
#[derive(Debug)]
pub(crate) struct Texts {
    backend: DbBackend,
    /// Inputs → their events.
    pub(crate) find_events: Keyed,
    /// Ids → id, version and quarantine of those that are there, locked in order.
    pub(crate) lock_flows: Keyed,
    /// Keys → key, number and expiry of those that are there, locked in order against change.
    pub(crate) share_guards: Keyed,
    /// The same, locked for change.
    pub(crate) lock_guards: Keyed,
    /// Ids → id and end of the deliveries that are there, locked in order.
    pub(crate) lock_outbox: Keyed,
    /// Keys.
    pub(crate) delete_guards: Keyed,
    /// Ids.
    pub(crate) delete_flows: Keyed,
    /// Inputs.
    pub(crate) delete_events: Keyed,
    /// Guards → the keys that nobody had.
    pub(crate) claim_guards: Wide,
    /// Rows → the ids that nobody had.
    pub(crate) insert_flows: Wide,
    /// Events → the inputs that nobody had.
    pub(crate) insert_events: Wide,
    /// Rows that are there, at an older version.
    pub(crate) update_flows: Wide,
    /// Guards that are there.
    pub(crate) update_guards: Wide,
    /// Deliveries.
    pub(crate) insert_outbox: Wide,
    /// Ends of deliveries.
    pub(crate) settle_outbox: Wide,
    /// Open deliveries, put off.
    pub(crate) postpone_outbox: Wide,
    /// Keys, and one flow's id → their numbers and expiries, and its version.
    check: String,
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
            let (name, list) = (key.0, keys(backend, key));
            Keyed(format!(
                r#"SELECT {wanted} FROM "{table}" AS t JOIN {list} AS n ON t."{name}" = n."{name}" ORDER BY t."{name}"{lock}"#
            ))
        };
        let delete = |table: &str, key: Column| {
            let (name, list) = (key.0, keys(backend, key));
            Keyed(format!(r#"DELETE FROM "{table}" WHERE "{name}" IN (SELECT "{name}" FROM {list} AS n)"#))
        };
        // Sorted, so that two nodes that insert the same wait for each other in one direction only.
        let insert = |table: &str, columns: &[Column], key: &str, then: &str| {
            let names = names(columns, "");
            let before = format!(r#"INSERT INTO "{table}" ({names}) SELECT {names} FROM "#);
            Wide::new(backend, before, columns, format!(r#" AS n WHERE true ORDER BY "{key}"{then}"#))
        };
        let claim = |table: &str, columns: &[Column], key: &str| {
            insert(table, columns, key, &format!(r#" ON CONFLICT DO NOTHING RETURNING "{key}""#))
        };
        let upsert = |table: &str, columns: &[Column], key: &str, condition: &str| {
            let others = columns.iter().filter(|(name, _)| *name != key);
            let changed: Vec<String> = others.map(|(name, _)| format!(r#""{name}" = excluded."{name}""#)).collect();
            let changed = changed.join(", ");
            insert(table, columns, key, &format!(r#" ON CONFLICT ("{key}") DO UPDATE SET {changed}{condition}"#))
        };
        let update = |table: &str, changed: &str, columns: &[Column], condition: &str| {
            let after = format!(r#" AS n WHERE "{table}"."id" = n."id"{condition}"#);
            Wide::new(backend, format!(r#"UPDATE "{table}" SET {changed} FROM "#), columns, after)
        };
        let (id, input, word) = (("id", Kind::Bytes), ("input", Kind::Bytes), ("key", Kind::Text));
        let settle = [
            id,
            ("settled", Kind::BigInteger),
            ("note", Kind::Text),
            ("dead", Kind::Boolean),
            ("forgets", Kind::Boolean),
        ];
        let postpone = [id, ("due", Kind::BigInteger), ("note", Kind::Text), ("uncounted", Kind::Integer)];
        let check_keys = keys(backend, word);
        let check_flow = match backend {
            DbBackend::Postgres => "decode($2, 'hex')",
            _ => "unhex(?2)",
        };
        Self {
            backend,
            find_events: find("events", input, &names(&event_columns, "t."), ""),
            lock_flows: find("flows", id, r#"t."id", t."version", t."quarantined_at""#, for_update),
            share_guards: find("guards", word, r#"t."key", t."value", t."expires""#, for_share),
            lock_guards: find("guards", word, r#"t."key", t."value", t."expires""#, for_update),
            lock_outbox: find("outbox", id, r#"t."id", t."settled""#, for_update),
            delete_guards: delete("guards", word),
            delete_flows: delete("flows", id),
            delete_events: delete("events", input),
            claim_guards: claim("guards", &guard_columns, "key"),
            insert_flows: claim("flows", &flow_columns, "id"),
            insert_events: claim("events", &event_columns, "input"),
            update_flows: upsert("flows", &flow_columns, "id", r#" WHERE "flows"."version" < excluded."version""#),
            update_guards: upsert("guards", &guard_columns, "key", ""),
            insert_outbox: insert("outbox", &outbox_columns, "id", ""),
            settle_outbox: update("outbox", &settled(backend), &settle, ""),
            postpone_outbox: update(
                "outbox",
                r#""due" = n."due", "note" = n."note", "claimed_until" = NULL, "claimed_by" = NULL, "attempts" = CASE WHEN "attempts" > n."uncounted" THEN "attempts" - n."uncounted" ELSE 0 END"#,
                &postpone,
                r#" AND "outbox"."settled" IS NULL"#,
            ),
            check: format!(
                r#"SELECT t."key" AS "key", t."value" AS "value", t."expires" AS "expires" FROM "guards" AS t JOIN {check_keys} AS n ON t."key" = n."key" UNION ALL SELECT NULL AS "key", t."version" AS "value", NULL AS "expires" FROM "flows" AS t WHERE t."id" = {check_flow}"#
            ),
        }
    }

    /// A statement with its keys.
    pub(crate) fn keyed<T: Serialize>(&self, text: &Keyed, keys: &[T]) -> Result<Statement, DbErr> {
        Ok(Statement::from_sql_and_values(self.backend, text.0.as_str(), [json(keys)?.into()]))
    }

    /// A statement with its rows, at most [`ROWS`] of them.
    pub(crate) fn wide<R: Record>(&self, wide: &Wide, records: &[R]) -> Result<Statement, DbErr> {
        if let Some(whole) = &wide.whole {
            let lines: Vec<JsonRow<'_, R>> = records.iter().map(JsonRow).collect();
            return Ok(Statement::from_sql_and_values(self.backend, whole.as_str(), [json(&lines)?.into()]));
        }
        let rows = records.len().next_power_of_two();
        let (columns, places) = (wide.columns.len(), rows * wide.columns.len());
        let mut values: Vec<Value> = Vec::with_capacity(places);
        for record in records {
            let cells = record.cells();
            debug_assert!(cells.iter().map(|(name, _)| name).eq(wide.columns.iter().map(|(name, _)| name)));
            values.extend(cells.into_iter().map(|(_, cell)| Value::from(cell)));
        }
        values.resize(places, Value::BigInt(None));
        let numbered = wide.columns.iter().enumerate();
        let named: Vec<String> = numbered.map(|(at, (name, _))| format!(r#"column{} AS "{name}""#, at + 1)).collect();
        let named = named.join(", ");
        let row = format!("({})", vec!["?"; columns].join(","));
        let list = vec![row; rows].join(",");
        let (before, after) = (&wide.before, &wide.after);
        // The first column is a key, so it is null where a row is there only to fill up.
        let text = format!("{before}(SELECT {named} FROM (VALUES {list}) WHERE column1 IS NOT NULL){after}");
        Ok(Statement::from_sql_and_values(self.backend, text, values))
    }

    /// The statement that reads guards, and a flow's version (its id in hexadecimal; empty for none).
    pub(crate) fn check(&self, keys: &[&str], flow: String) -> Result<Statement, DbErr> {
        Ok(Statement::from_sql_and_values(self.backend, self.check.as_str(), [json(keys)?.into(), flow.into()]))
    }
}

impl Wide {
    fn new(backend: DbBackend, before: String, columns: &[Column], after: String) -> Self {
        let whole = (backend == DbBackend::Postgres).then(|| format!("{before}{}{after}", recordset(columns)));
        Self { before, columns: columns.to_vec(), after, whole }
    }
}

/// How a delivery's row is changed by its end, `n`.
pub(crate) fn settled(backend: DbBackend) -> String {
    let nothing = if backend == DbBackend::Postgres { "''::bytea" } else { "x''" };
    format!(
        r#""settled" = n."settled", "note" = n."note", "dead" = n."dead", "claimed_until" = NULL, "claimed_by" = NULL, "payload" = CASE WHEN n."forgets" THEN {nothing} ELSE "payload" END"#
    )
}

/// A table's columns in the order of its model, which is the one place that lists them.
pub(crate) fn columns<E: EntityTrait>() -> Vec<Column> {
    let kind = |column: E::Column| match column.def().get_column_type() {
        ColumnType::Binary(_) | ColumnType::VarBinary(_) | ColumnType::Blob => Kind::Bytes,
        ColumnType::Integer => Kind::Integer,
        ColumnType::BigInteger => Kind::BigInteger,
        ColumnType::Boolean => Kind::Boolean,
        _ => Kind::Text,
    };
    E::Column::iter().map(|column| (column.as_str(), kind(column))).collect()
}

pub(crate) fn names(columns: &[Column], prefix: &str) -> String {
    let quoted: Vec<String> = columns.iter().map(|(name, _)| format!(r#"{prefix}"{name}""#)).collect();
    quoted.join(", ")
}

/// PostgreSQL: the first parameter, a JSON list of objects, as a table of these columns.
pub(crate) fn recordset(columns: &[Column]) -> String {
    let wanted = columns.iter().map(|(name, kind)| match kind {
        Kind::Bytes => format!(r#"decode(r."{name}", 'hex') AS "{name}""#),
        _ => format!(r#"r."{name}""#),
    });
    let typed = columns.iter().map(|(name, kind)| {
        let kind = match kind {
            Kind::Bytes | Kind::Text => "text",
            Kind::Integer => "integer",
            Kind::BigInteger => "bigint",
            Kind::Boolean => "boolean",
        };
        format!(r#""{name}" {kind}"#)
    });
    let (wanted, typed): (Vec<String>, Vec<String>) = (wanted.collect(), typed.collect());
    format!("(SELECT {} FROM json_to_recordset($1::json) AS r({}))", wanted.join(", "), typed.join(", "))
}

/// The first parameter, a JSON list of ids in hexadecimal, as a table of one column.
pub(crate) fn ids(backend: DbBackend) -> String {
    keys(backend, ("id", Kind::Bytes))
}

/// The first parameter, a JSON list of texts, as a table of one column.
fn keys(backend: DbBackend, (name, kind): Column) -> String {
    match (backend, kind) {
        (DbBackend::Postgres, Kind::Bytes) => {
            format!(r#"(SELECT decode(r.v, 'hex') AS "{name}" FROM json_array_elements_text($1::json) AS r(v))"#)
        }
        (DbBackend::Postgres, _) => {
            format!(r#"(SELECT r.v AS "{name}" FROM json_array_elements_text($1::json) AS r(v))"#)
        }
        (_, Kind::Bytes) => format!(r#"(SELECT unhex(r.value) AS "{name}" FROM json_each(?1) AS r)"#),
        (..) => format!(r#"(SELECT r.value AS "{name}" FROM json_each(?1) AS r)"#),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use cairn_runtime::store::GuardState;

    use super::*;
    use crate::records::GuardRecord;

    fn texts_of(backend: DbBackend) -> usize {
        let texts = Texts::new(backend);
        let records: Vec<GuardRecord<'_>> =
            (0..256).map(|number| GuardRecord { key: "k", state: GuardState { number, expires: None } }).collect();
        let of = |rows: usize| texts.wide(&texts.claim_guards, &records[..rows]).unwrap().sql;
        (1..=256).map(of).collect::<BTreeSet<String>>().len()
    }

    #[test]
    fn a_statement_has_few_texts_whatever_the_number_of_rows() {
        assert_eq!(texts_of(DbBackend::Postgres), 1);
        assert_eq!(texts_of(DbBackend::Sqlite), 9);
    }

    #[test]
    fn a_statement_of_the_greatest_size_has_no_more_values_than_sqlite_counts() {
        let texts = Texts::new(DbBackend::Sqlite);
        let widest = [&texts.insert_flows, &texts.insert_events, &texts.insert_outbox, &texts.claim_guards];
        for wide in widest {
            assert!(wide.columns.len() * ROWS <= 32_766, "{} columns", wide.columns.len());
        }
    }
}
