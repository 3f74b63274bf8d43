//! The table of deliveries: what was committed to be carried out, and how that went.

use cairn_runtime::store::OutboxRow;
use cairn_runtime::{DeliveryId, FlowId, Timestamp};
use sea_orm::entity::prelude::*;

use super::{fixed, id, instant, number};

/// A delivery.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "outbox")]
pub struct Model {
    /// Its id, at every attempt the same.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Vec<u8>,
    /// The flow (or act) that asked for it.
    pub flow: Vec<u8>,
    /// The kind of that flow.
    pub flow_kind: String,
    /// When set, its end is answered with this tag.
    pub tag: Option<String>,
    /// Its kind.
    pub kind: String,
    /// What is carried, sealed; empty once wiped.
    pub payload: Vec<u8>,
    /// Not before this instant.
    pub due: i64,
    /// Not after this instant.
    pub expires: Option<i64>,
    /// Never repeated.
    pub once: bool,
    /// How often it was claimed.
    pub attempts: i32,
    /// Until when a node has it in hand.
    pub claimed_until: Option<i64>,
    /// Which node that is.
    pub claimed_by: Option<String>,
    /// When it came to its end.
    pub settled: Option<i64>,
    /// Why it is dead, or why the last attempt failed.
    #[sea_orm(column_type = "Text")]
    pub note: String,
    /// Whether its end was bad.
    pub dead: bool,
    /// When it was committed.
    pub created: i64,
    /// The flow that a signal or an answer is to be brought to.
    pub target: Option<Vec<u8>>,
    /// Whose budget it counts against, thirty-two bytes.
    pub budget: Option<Vec<u8>>,
    /// Who asked for it, thirty-two bytes.
    pub asked_by: Option<Vec<u8>>,
    /// The name of its lane.
    pub lane: String,
}

/// It stands alone: it outlives the flow that asked for it.
#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl TryFrom<Model> for OutboxRow {
    type Error = DbErr;

    fn try_from(stored: Model) -> Result<Self, DbErr> {
        Ok(Self {
            id: DeliveryId(id(&stored.id)?),
            flow: FlowId(id(&stored.flow)?),
            flow_kind: stored.flow_kind,
            tag: stored.tag,
            kind: stored.kind,
            lane: stored.lane,
            payload: stored.payload,
            due: Timestamp(stored.due),
            expires: instant(stored.expires),
            once: stored.once,
            attempts: number(stored.attempts)?,
            claimed_until: instant(stored.claimed_until),
            claimed_by: stored.claimed_by,
            settled: instant(stored.settled),
            note: stored.note,
            dead: stored.dead,
            created: Timestamp(stored.created),
            target: stored.target.map(|target| id(&target).map(FlowId)).transpose()?,
            budget: stored.budget.map(|budget| fixed(&budget)).transpose()?,
            asked_by: stored.asked_by.map(|asker| fixed(&asker)).transpose()?,
        })
    }
}
