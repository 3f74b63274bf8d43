//! Several rows' columns changed in one statement, `CASE WHEN id = … THEN …` for each column.

use cairn_runtime::Id;
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, ColumnType, ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, EntityTrait, QueryFilter, Value,
};

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
