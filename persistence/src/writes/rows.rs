//! Rows that are new or changed in a batch, in both forms. In a transaction several rows' columns change in one statement,
//! `CASE WHEN id = … THEN …` for each column; a part of one statement has them as a JSON list.

use cairn_runtime::Id;
use data_encoding::HEXLOWER;
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait};
use sea_orm::{
    ActiveModelTrait, ActiveValue, ColumnTrait, ColumnType, ConnectionTrait, DatabaseTransaction, DbBackend, DbErr,
    EntityTrait, IdenStatic, Iterable, QueryFilter, Value,
};
use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::single::Part;
use crate::sql::{columns, recordset};

/// One row, and its new cells in the order of the columns of its kind of change.
#[derive(Debug)]
pub(super) struct Change {
    id: Vec<u8>,
    cells: Vec<Value>,
}

impl Change {
    pub(super) fn new(id: Id, cells: impl IntoIterator<Item = Value>) -> Self {
        Self { id: id.bytes().to_vec(), cells: cells.into_iter().collect() }
    }

    /// Which row.
    pub(super) fn id(&self) -> &Vec<u8> {
        &self.id
    }
}

/// Changes these columns of the rows that are there.
pub(super) async fn update<E: EntityTrait>(
    transaction: &DatabaseTransaction,
    key: E::Column,
    columns: &[E::Column],
    changes: &[Change],
) -> Result<(), DbErr> {
    if changes.is_empty() {
        return Ok(());
    }
    let backend = transaction.get_database_backend();
    let mut update = E::update_many();
    for (at, column) in columns.iter().enumerate() {
        let kind = kind(backend, column);
        let mut case = CaseStatement::new();
        for change in changes {
            let cell = change.cells.get(at).cloned().unwrap_or(Value::BigInt(None));
            case = case.case(key.eq(change.id.clone()), Expr::val(cell).cast_as(kind));
        }
        update = update.col_expr(*column, case.into());
    }
    let ids = changes.iter().map(|change| change.id.clone());
    update.filter(key.is_in(ids)).exec(transaction).await.map(|_| ())
}

/// What a cell is cast as: PostgreSQL cannot tell the type of a parameter in a branch.
fn kind(backend: DbBackend, column: &impl ColumnTrait) -> &'static str {
    match column.def().get_column_type() {
        ColumnType::Binary(_) | ColumnType::VarBinary(_) | ColumnType::Blob if backend == DbBackend::Postgres => {
            "bytea"
        }
        ColumnType::Binary(_) | ColumnType::VarBinary(_) | ColumnType::Blob => "blob",
        ColumnType::BigInteger => "bigint",
        _ => "text",
    }
}

/// The text of the part that changes these columns of the rows that are there.
pub(super) fn update_text<E: EntityTrait>(key: E::Column, changed: &[E::Column]) -> String {
    let (table, key, condition) = (E::default().table_name(), key.as_str(), Part::CONDITION);
    let set: Vec<String> = changed.iter().map(|column| format!(r#""{0}" = n."{0}""#, column.as_str())).collect();
    let is_named = |name: &str| name == key || changed.iter().any(|column| column.as_str() == name);
    let named: Vec<_> = columns::<E>().into_iter().filter(|(name, _)| is_named(name)).collect();
    let (set, list) = (set.join(", "), recordset(&named));
    format!(
        r#"UPDATE "{table}" SET {set} FROM {list} AS n WHERE "{table}"."{key}" = n."{key}" AND {condition} RETURNING 1"#
    )
}

/// The list of a part that changes these columns.
pub(super) fn changed<E: EntityTrait>(
    key: E::Column,
    columns: &[E::Column],
    changes: Vec<Change>,
) -> Result<Vec<Json>, DbErr> {
    let row = |change: Change| {
        let id = (key.as_str().to_owned(), Json::String(HEXLOWER.encode(&change.id)));
        let cells =
            columns.iter().zip(change.cells).map(|(column, cell)| Ok((column.as_str().to_owned(), json(cell)?)));
        std::iter::once(Ok(id)).chain(cells).collect::<Result<Map<_, _>, DbErr>>().map(Json::Object)
    };
    changes.into_iter().map(row).collect()
}

/// The list of a part that inserts rows.
pub(super) fn inserted<A: ActiveModelTrait>(rows: &[A]) -> Result<Vec<Json>, DbErr> {
    let row = |row: &A| {
        let cells = <A::Entity as EntityTrait>::Column::iter().map(|column| match row.get(column) {
            ActiveValue::Set(cell) | ActiveValue::Unchanged(cell) => Ok((column.as_str().to_owned(), json(cell)?)),
            ActiveValue::NotSet => Err(DbErr::Custom(format!("a new row has no {}", column.as_str()))),
        });
        cells.collect::<Result<Map<_, _>, DbErr>>().map(Json::Object)
    };
    rows.iter().map(row).collect()
}

/// Adds a part, if there is anything for it to write.
pub(super) fn add<T: Serialize>(parts: &mut Vec<Part>, text: &'static str, list: &[T]) -> Result<(), DbErr> {
    if !list.is_empty() {
        parts.push(Part::new(text, list)?);
    }
    Ok(())
}

/// A cell as it travels in JSON.
fn json(cell: Value) -> Result<Json, DbErr> {
    Ok(match cell {
        Value::Bytes(bytes) => bytes.map(|bytes| HEXLOWER.encode(&bytes)).into(),
        Value::String(text) => text.into(),
        Value::BigInt(number) => number.into(),
        other => return Err(DbErr::Type(format!("no table of auth has a cell like {other:?}"))),
    })
}

/// A value as the JSON text of a cell.
pub(super) fn as_json<T: Serialize>(value: &T) -> Result<String, DbErr> {
    serde_json::to_string(value).map_err(|why| DbErr::Json(why.to_string()))
}

/// A closed vocabulary's word as the text of a cell.
pub(super) fn as_word<T: Serialize>(value: &T) -> Result<String, DbErr> {
    match serde_json::to_value(value) {
        Ok(Json::String(word)) => Ok(word),
        Ok(other) => Err(DbErr::Json(format!("{other} is no word"))),
        Err(why) => Err(DbErr::Json(why.to_string())),
    }
}
