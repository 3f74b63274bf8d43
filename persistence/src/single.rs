//! A batch as one statement: what nobody contests is written in one journey to the database and back.
//!
//! On PostgreSQL only; SQLite has no journey to save, and knows no statement that holds others which write. The
//! statement locks and judges what the batch expects, each table in the order of its key as the transaction does, and
//! writes if all of it is so. If anything is not, it has written nothing, and the transaction finds out who has lost. A
//! race that it could not see when it began is refused by a unique index, which undoes it as a whole.
//!
//! What must stay true: its parts see the tables as they were when it began, so none depends on what another writes,
//! and no row is written by two of them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use cairn_runtime::store::{Event, GuardState, Item, OutboxRow, Row, Settle, StoreFault, Verdict};
use cairn_runtime::{Domain, Guard, Timestamp};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, EntityTrait, Statement, Value};
use serde::Serialize;

use crate::connect::Database;
use crate::entity::{events, flows, guards, outbox};
use crate::fault::{Stage, fault};
use crate::records::{GuardRecord, Hex, JsonRow, Record, json};
use crate::sql::{Column, Kind, ROWS, columns, names, recordset, settled};
use crate::store::Writes;

/// Where a part's list stands in its text.
const LIST: &str = "$1::";
/// What a part's text says for the condition under which it writes.
const IF_ALL_IS_SO: &str = r#"(SELECT "ok" FROM "judged")"#;

/// One part that writes: what the domain adds to the statement of a batch.
///
/// Its text writes the rows of one list, which is its parameter `$1::json`, on the condition [`Part::CONDITION`]. It
/// must not depend on what other parts write, nor write what they do, and must return a row for each that it writes.
#[derive(Clone, Debug)]
pub struct Part {
    text: Cow<'static, str>,
    list: String,
}

impl Part {
    /// Under which condition a part writes: everything in the batch is as it expects.
    pub const CONDITION: &str = IF_ALL_IS_SO;

    /// A part that writes the rows of a list.
    ///
    /// # Errors
    /// When the list cannot be JSON.
    pub fn new<T: Serialize>(text: impl Into<Cow<'static, str>>, list: &[T]) -> Result<Self, DbErr> {
        Ok(Self { text: text.into(), list: json(list)? })
    }
}

/// The texts of the parts that every batch is made of.
#[derive(Debug)]
pub(crate) struct Texts {
    expected_flows: String,
    held_guards: String,
    raised_guards: String,
    open_outbox: String,
    known_events: String,
    known_flows: String,
    known_guards: String,
    seen_inputs: String,
    claim_guards: String,
    insert_flows: String,
    insert_events: String,
    insert_outbox: String,
    update_flows: String,
    settle_outbox: String,
    raise_guards: String,
    free_guards: String,
}

const ID: Column = ("id", Kind::Bytes);
const INPUT: Column = ("input", Kind::Bytes);
const KEY: Column = ("key", Kind::Text);

impl Texts {
    /// `None` where there is no journey to save.
    pub(crate) fn new(backend: DbBackend) -> Option<Self> {
        if backend != DbBackend::Postgres {
            return None;
        }
        let locked = |table: &str, list: &[Column], key: &str, condition: &str, lock: &str| {
            let list = recordset(list);
            format!(
                r#"SELECT count(*) AS "n" FROM (SELECT 1 FROM {list} AS n JOIN "{table}" AS t ON t."{key}" = n."{key}" WHERE {condition} ORDER BY t."{key}" {lock} OF t) AS l"#
            )
        };
        let known = |table: &str, column: Column| {
            let (name, list) = (column.0, recordset(&[column]));
            format!(r#"NOT EXISTS (SELECT 1 FROM {list} AS n JOIN "{table}" AS t ON t."{name}" = n."{name}")"#)
        };
        let update = |table: &str, changed: &str, list: &[Column], key: &str| {
            let list = recordset(list);
            format!(
                r#"UPDATE "{table}" SET {changed} FROM {list} AS n WHERE "{table}"."{key}" = n."{key}" AND {IF_ALL_IS_SO} RETURNING 1"#
            )
        };
        let expected = [ID, ("version", Kind::BigInteger), ("changes", Kind::Boolean)];
        let numbered = [KEY, ("value", Kind::BigInteger), ("at", Kind::BigInteger)];
        let as_expected =
            r#"(n."value" IS NULL OR t."value" = n."value") AND (t."expires" IS NULL OR t."expires" > n."at")"#;
        let ends = [
            ID,
            ("settled", Kind::BigInteger),
            ("note", Kind::Text),
            ("dead", Kind::Boolean),
            ("forgets", Kind::Boolean),
        ];
        let flow_columns = columns::<flows::Entity>();
        let others = flow_columns.iter().filter(|(name, _)| *name != "id");
        let changed: Vec<String> = others.map(|(name, _)| format!(r#""{name}" = n."{name}""#)).collect();
        Some(Self {
            expected_flows: locked(
                "flows",
                &expected,
                "id",
                r#"t."version" = n."version" AND (t."quarantined_at" IS NULL OR NOT n."changes")"#,
                "FOR UPDATE",
            ),
            held_guards: locked("guards", &numbered, "key", as_expected, "FOR SHARE"),
            raised_guards: locked("guards", &numbered, "key", as_expected, "FOR UPDATE"),
            open_outbox: locked("outbox", &[ID], "id", r#"t."settled" IS NULL"#, "FOR UPDATE"),
            known_events: known("events", INPUT),
            known_flows: known("flows", ID),
            known_guards: known("guards", KEY),
            seen_inputs: known("events", INPUT),
            claim_guards: insert::<guards::Entity>("guards", "key"),
            insert_flows: insert::<flows::Entity>("flows", "id"),
            insert_events: insert::<events::Entity>("events", "input"),
            insert_outbox: insert::<outbox::Entity>("outbox", "id"),
            update_flows: update("flows", &changed.join(", "), &flow_columns, "id"),
            settle_outbox: update("outbox", &settled(DbBackend::Postgres), &ends, "id"),
            raise_guards: update("guards", r#""value" = "guards"."value" + 1"#, &[KEY], "key"),
            free_guards: format!(
                r#"DELETE FROM "guards" USING {list} AS n WHERE "guards"."key" = n."key" AND {IF_ALL_IS_SO} RETURNING 1"#,
                list = recordset(&[KEY])
            ),
        })
    }
}

/// The text of a part that inserts rows with all columns of a table. Sorted, so that two nodes that insert the same wait
/// for each other in one direction only.
pub(crate) fn insert<E: EntityTrait>(table: &str, key: &str) -> String {
    let columns = columns::<E>();
    let (names, list) = (names(&columns, ""), recordset(&columns));
    format!(
        r#"INSERT INTO "{table}" ({names}) SELECT {names} FROM {list} AS n WHERE {IF_ALL_IS_SO} ORDER BY "{key}" RETURNING 1"#
    )
}

/// A flow as a batch expects it.
#[derive(Serialize)]
struct Expected<'a> {
    id: Hex<'a>,
    version: u64,
    /// Of a flow that is only looked at it does not matter whether it is set aside.
    changes: bool,
}

/// A guard as a batch expects it.
#[derive(Serialize)]
struct Numbered<'a> {
    key: &'a str,
    /// Any number will do where there is none.
    value: Option<i64>,
    /// When it must not have expired.
    at: i64,
}

#[derive(Serialize)]
struct Named<'a> {
    key: &'a str,
}

#[derive(Serialize)]
struct Brought<'a> {
    input: Hex<'a>,
}

/// What a batch comes to if nothing in it is contested.
struct Gathered<'a, D: Domain> {
    expected: BTreeMap<Hex<'a>, (u64, bool)>,
    numbers: BTreeMap<&'a str, (Option<i64>, Timestamp)>,
    claims: Vec<GuardRecord<'a>>,
    raised: Vec<Named<'a>>,
    freed: Vec<Named<'a>>,
    seen: Vec<Brought<'a>>,
    begun: Vec<&'a Row>,
    changed: Vec<&'a Row>,
    events: Vec<&'a Event>,
    outbox: Vec<&'a OutboxRow>,
    settled: Vec<&'a Settle>,
    writes: Vec<&'a D::Write>,
}

/// Goes through a batch; `None` when two of its items name the same, so that one depends on the other.
fn gather<D: Domain>(batch: &[Item<D>]) -> Option<Gathered<'_, D>> {
    let mut all = Gathered {
        expected: BTreeMap::new(),
        numbers: BTreeMap::new(),
        claims: Vec::new(),
        raised: Vec::new(),
        freed: Vec::new(),
        seen: Vec::new(),
        begun: Vec::new(),
        changed: Vec::new(),
        events: Vec::new(),
        outbox: Vec::new(),
        settled: Vec::new(),
        writes: Vec::new(),
    };
    let (mut rows, mut keys, mut ends) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for item in batch {
        if item.seen {
            all.seen.push(Brought { input: Hex(item.input.bytes()) });
        }
        if let Some(change) = &item.change {
            let id = Hex(change.row.id.bytes());
            if !rows.insert(id) {
                return None;
            }
            if change.was == 0 {
                all.begun.push(&change.row);
            } else {
                all.changed.push(&change.row);
                all.expected.insert(id, (change.was, true));
            }
        }
        for (row, event) in &item.opened {
            if !rows.insert(Hex(row.id.bytes())) {
                return None;
            }
            all.begun.push(row);
            all.events.push(event);
        }
        all.events.extend(&item.event);
        all.outbox.extend(&item.outbox);
        if let Some(settle) = &item.settles {
            if !ends.insert(settle.delivery) {
                return None;
            }
            all.settled.push(settle);
        }
        for guard in &item.guards {
            let key = guard.key().as_str();
            if let Guard::Hold(_, number) = guard {
                // Many may hold one key, if all hold the same number.
                let (held, at) = all.numbers.entry(key).or_insert((Some(*number), item.at));
                if keys.contains(key) || *held != Some(*number) {
                    return None;
                }
                *at = item.at.max(*at);
                continue;
            }
            if !keys.insert(key) || all.numbers.contains_key(key) {
                return None;
            }
            let claimed = |expires| GuardRecord { key, state: GuardState { number: 0, expires } };
            match guard {
                Guard::Claim(_) => all.claims.push(claimed(None)),
                Guard::ClaimUntil(_, expires) => all.claims.push(claimed(Some(*expires))),
                Guard::Release(_) => {
                    all.numbers.insert(key, (None, item.at));
                    all.freed.push(Named { key });
                }
                Guard::Bump(_, number) => {
                    all.numbers.insert(key, (*number, item.at));
                    all.raised.push(Named { key });
                }
                Guard::Hold(..) => {}
            }
        }
        all.writes.extend(&item.writes);
    }
    for (flow, version) in batch.iter().filter_map(|item| item.expects.as_ref()) {
        let id = Hex(flow.bytes());
        let before = all.expected.insert(id, (*version, false));
        // Many may look at one flow, if all expect the same version.
        if *version == 0 || rows.contains(&id) || before.is_some_and(|before| before.0 != *version) {
            return None;
        }
    }
    let most = [all.begun.len(), all.changed.len(), all.events.len(), all.outbox.len(), all.settled.len()];
    most.iter().all(|rows| *rows <= ROWS).then_some(all)
}

/// The statement in the making.
#[derive(Default)]
struct Draft {
    lists: Vec<Value>,
    /// Its parts, each with a name.
    parts: String,
    /// What must be so for anything to be written, in the order in which it is locked and looked at.
    conditions: Vec<String>,
    /// What must have come of it.
    results: Vec<String>,
}

impl Draft {
    /// Takes a list; gives its place among the parameters.
    fn list<T: Serialize>(&mut self, list: &[T]) -> Result<usize, DbErr> {
        Ok(self.take(json(list)?))
    }

    fn rows<R: Record>(&mut self, rows: &[R]) -> Result<usize, DbErr> {
        let lines: Vec<JsonRow<'_, R>> = rows.iter().map(JsonRow).collect();
        self.list(&lines)
    }

    fn take(&mut self, list: String) -> usize {
        self.lists.push(list.into());
        self.lists.len()
    }

    /// Adds a part that locks what is as expected, after all that was locked before it; as many must be as are expected.
    fn lock(&mut self, text: &str, list: usize) -> Result<(), DbErr> {
        let name = format!("l{list}");
        let after = self.conditions.join(" AND ");
        let text = text.replacen(LIST, &format!("${list}::"), 1);
        let text = if after.is_empty() { text } else { text.replacen(" WHERE ", &format!(" WHERE {after} AND "), 1) };
        self.part(&name, &text)?;
        self.conditions.push(format!(r#"(SELECT "n" FROM "{name}") = json_array_length(${list}::json)"#));
        Ok(())
    }

    fn expect(&mut self, text: &str, list: usize) {
        self.conditions.push(text.replacen(LIST, &format!("${list}::"), 1));
    }

    /// Adds a part that writes, and whether it must write every row of its list.
    fn write(&mut self, text: &str, list: usize, every: bool) -> Result<(), DbErr> {
        let name = format!("w{}", self.results.len());
        self.part(&name, &text.replacen(LIST, &format!("${list}::"), 1))?;
        let least = if every { format!("json_array_length(${list}::json)") } else { "0".to_owned() };
        self.results.push(format!(r#"(SELECT count(*) FROM "{name}") >= {least}"#));
        Ok(())
    }

    fn part(&mut self, name: &str, text: &str) -> Result<(), DbErr> {
        let comma = if self.parts.is_empty() { "" } else { ", " };
        write!(self.parts, r#"{comma}"{name}" AS MATERIALIZED ({text})"#).map_err(|why| DbErr::Custom(why.to_string()))
    }

    fn judge(&mut self) -> Result<(), DbErr> {
        let all = if self.conditions.is_empty() { "true".to_owned() } else { self.conditions.join(" AND ") };
        self.part("judged", &format!(r#"SELECT {all} AS "ok""#))
    }

    /// The parts are carried out in the order in which their results are asked for. One that falls short of its list
    /// undoes everything by an error: a division by nothing.
    fn finish(self) -> Statement {
        let results = if self.results.is_empty() { "true".to_owned() } else { self.results.join(" AND ") };
        let text = format!(
            r#"WITH {} SELECT "ok", 1 / CASE WHEN NOT "ok" OR ({results}) THEN 1 ELSE 0 END AS "whole" FROM "judged""#,
            self.parts
        );
        Statement::from_sql_and_values(DbBackend::Postgres, text, self.lists)
    }
}

/// The whole batch as a statement; `None` when it needs a transaction.
fn statement<D: Domain, W: Writes<D>>(
    texts: &Texts,
    writes: &W,
    batch: &[Item<D>],
) -> Result<Option<Statement>, DbErr> {
    let Some(all) = gather(batch) else { return Ok(None) };
    let parts = if all.writes.is_empty() { Some(Vec::new()) } else { writes.parts(&all.writes)? };
    let Some(parts) = parts else { return Ok(None) };

    let mut draft = Draft::default();
    if !all.expected.is_empty() {
        let expected = all.expected.iter().map(|(id, (version, changes))| Expected {
            id: *id,
            version: *version,
            changes: *changes,
        });
        let list = draft.list(&expected.collect::<Vec<_>>())?;
        draft.lock(&texts.expected_flows, list)?;
    }
    if !all.numbers.is_empty() {
        let numbered: Vec<_> =
            all.numbers.iter().map(|(key, (value, at))| Numbered { key, value: *value, at: at.0 }).collect();
        let list = draft.list(&numbered)?;
        let raised = !all.raised.is_empty() || !all.freed.is_empty();
        draft.lock(if raised { &texts.raised_guards } else { &texts.held_guards }, list)?;
    }
    let mut then: Vec<(&str, usize, bool)> = Vec::new();
    let settled = if all.settled.is_empty() { None } else { Some(draft.rows(&all.settled)?) };
    if let Some(list) = settled {
        draft.lock(&texts.open_outbox, list)?;
    }
    if !all.seen.is_empty() {
        let list = draft.list(&all.seen)?;
        draft.expect(&texts.seen_inputs, list);
    }
    if !all.claims.is_empty() {
        let list = draft.rows(&all.claims)?;
        draft.expect(&texts.known_guards, list);
        then.push((&texts.claim_guards, list, true));
    }
    if !all.begun.is_empty() {
        let list = draft.rows(&all.begun)?;
        draft.expect(&texts.known_flows, list);
        then.push((&texts.insert_flows, list, true));
    }
    if !all.events.is_empty() {
        let list = draft.rows(&all.events)?;
        draft.expect(&texts.known_events, list);
        then.push((&texts.insert_events, list, true));
    }
    if !all.changed.is_empty() {
        then.push((&texts.update_flows, draft.rows(&all.changed)?, true));
    }
    if !all.outbox.is_empty() {
        then.push((&texts.insert_outbox, draft.rows(&all.outbox)?, true));
    }
    if let Some(list) = settled {
        then.push((&texts.settle_outbox, list, true));
    }
    if !all.raised.is_empty() {
        then.push((&texts.raise_guards, draft.list(&all.raised)?, true));
    }
    if !all.freed.is_empty() {
        then.push((&texts.free_guards, draft.list(&all.freed)?, true));
    }
    draft.judge()?;
    for (text, list, every) in then {
        draft.write(text, list, every)?;
    }
    for part in parts {
        let list = draft.take(part.list);
        draft.write(&part.text, list, false)?;
    }
    Ok(Some(draft.finish()))
}

/// Commits a batch in one statement, which commits by itself. `None`: nothing was done, and a transaction must find out
/// what becomes of each item.
pub(crate) async fn commit<D: Domain, W: Writes<D>>(
    database: &Database,
    texts: &Texts,
    writes: &W,
    batch: &[Item<D>],
) -> Result<Option<Vec<Verdict>>, StoreFault> {
    let statement = statement(texts, writes, batch).map_err(|error| fault(Stage::Begin, &error))?;
    let Some(statement) = statement else { return Ok(None) };
    // All rows are asked for, because the last word of the answer is whether it was committed.
    let mut written = database.writer().query_all_raw(statement.clone()).await;
    if matches!(written, Err(DbErr::ConnectionAcquire(_))) && database.makes_room().await {
        written = database.writer().query_all_raw(statement).await;
    }
    let is_written = written.and_then(|rows| rows.first().map_or(Ok(false), |row| row.try_get_by_index(0)));
    match is_written.map_err(|error| fault(Stage::Commit, &error)) {
        Ok(true) => Ok(Some(batch.iter().map(|_| Verdict::Done).collect())),
        Ok(false) => Ok(None),
        // The server refused it, and so undid it: most likely a race was lost.
        Err(StoreFault::Unexpected(why)) => {
            tracing::debug!(why, "a batch was refused as one statement");
            Ok(None)
        }
        Err(fault) => Err(fault),
    }
}

#[cfg(test)]
mod tests {
    use cairn_runtime::testing::suite::given::{Draft, delivery, flow, row, start, step};
    use cairn_runtime::testing::toy::Toy;
    use futures_util::future::BoxFuture;
    use sea_orm::DatabaseTransaction;

    use super::*;

    struct Nothing;

    impl Writes<Toy> for Nothing {
        fn apply<'a>(
            &'a self,
            _txn: &'a DatabaseTransaction,
            _writes: Vec<&'a <Toy as Domain>::Write>,
        ) -> BoxFuture<'a, Result<(), DbErr>> {
            Box::pin(std::future::ready(Ok(())))
        }
    }

    fn text(drafts: Vec<Draft>) -> Option<String> {
        let batch: Vec<Item<Toy>> = drafts.into_iter().map(|draft| draft.item).collect();
        let texts = Texts::new(DbBackend::Postgres).unwrap();
        statement(&texts, &Nothing, &batch).unwrap().map(|statement| statement.sql)
    }

    #[test]
    fn a_batch_has_one_text_however_many_items_are_in_it() {
        let of = |number: u64| {
            let begun = start(number).claim(&format!("name:{number}")).sends(delivery(number, flow(number)));
            let moved = step(&row(1_000 + number), number).hold("fence", 3).bump(&format!("own:{number}"));
            [begun, moved.release(&format!("old:{number}")).settles(2_000 + number)]
        };
        let one = text(of(1).into()).unwrap();
        let many = text((1..100).flat_map(of).collect()).unwrap();
        assert_eq!(one, many);
    }

    #[test]
    fn what_names_the_same_twice_takes_a_transaction() {
        let twice: [Vec<Draft>; 6] = [
            vec![start(1).claim("a").release("a")],
            vec![start(1).claim("a"), start(2).claim("a")],
            vec![start(1).hold("a", 1), start(2).hold("a", 2)],
            vec![start(1).hold("a", 1), start(2).bump("a")],
            vec![step(&row(1), 1), step(&row(1), 2)],
            vec![step(&row(1), 1), start(2).expects(flow(1), 1)],
        ];
        for batch in twice {
            let said = format!("{batch:?}");
            assert_eq!(text(batch), None, "{said}");
        }
        let same = vec![start(1).hold("a", 1).expects(flow(9), 4), start(2).hold("a", 1).expects(flow(9), 4)];
        assert!(text(same).is_some(), "what only looks is no rival");
        assert_eq!(text(vec![start(1).add("a", 1)]), None, "its domain has no parts");
    }

    #[test]
    fn sqlite_has_no_journey_to_save() {
        assert!(Texts::new(DbBackend::Sqlite).is_none());
    }
}
