//! The table of flows: one row a flow, which is all that is ever known of it between two steps.

use cairn_runtime::store::{Quarantine, Row};
use cairn_runtime::{FlowId, Timestamp};
use sea_orm::entity::prelude::*;

use super::{fixed, id, instant, number};

/// A flow's row. Instants are Unix milliseconds, ids sixteen bytes.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "flows")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Vec<u8>,
    /// The name of its kind.
    pub kind: String,
    /// The shape of its state.
    pub schema: i32,
    /// 1 after the start, one more after each step.
    pub version: i64,
    /// Where it stands.
    pub phase: String,
    /// Its state as JSON. Text, because binary JSON would rewrite the bytes.
    #[sea_orm(column_type = "Text")]
    pub state: String,
    /// What the MACs of its credentials go over.
    pub salt: Vec<u8>,
    /// When it must be woken; none: finished.
    pub wake_at: Option<i64>,
    /// How often it was woken in vain since its last step.
    pub attempts: i32,
    /// Since when it is set aside.
    pub quarantined_at: Option<i64>,
    /// Why it is set aside, for the operator.
    #[sea_orm(column_type = "Text", nullable)]
    pub quarantine_why: Option<String>,
    /// Until when nobody else may wake it.
    pub claimed_until: Option<i64>,
    /// The node that has it in hand.
    pub claimed_by: Option<String>,
    /// Whose it is.
    pub user_id: Option<Vec<u8>>,
    /// Through which client it came.
    pub client_id: Option<Vec<u8>>,
    /// The flow that opened it.
    pub parent: Option<Vec<u8>>,
    /// A keyed hash of thirty-two bytes to search by.
    pub subject: Option<Vec<u8>>,
    /// When it was last written.
    pub touched_at: i64,
}

/// It stands alone: what belongs together is found by ids, so that each table may be retained by itself.
#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl TryFrom<Model> for Row {
    type Error = DbErr;

    fn try_from(stored: Model) -> Result<Self, DbErr> {
        let quarantined = stored
            .quarantined_at
            .map(|at| Quarantine { at: Timestamp(at), why: stored.quarantine_why.unwrap_or_default() });
        Ok(Self {
            id: FlowId(id(&stored.id)?),
            kind: stored.kind,
            schema: number(stored.schema)?,
            version: number(stored.version)?,
            phase: stored.phase,
            state: stored.state,
            salt: fixed(&stored.salt)?,
            wake_at: instant(stored.wake_at),
            attempts: number(stored.attempts)?,
            quarantined,
            user: stored.user_id.as_deref().map(id).transpose()?,
            client: stored.client_id.as_deref().map(id).transpose()?,
            parent: stored.parent.as_deref().map(id).transpose()?.map(FlowId),
            subject: stored.subject.as_deref().map(fixed).transpose()?,
            touched_at: Timestamp(stored.touched_at),
        })
    }
}
