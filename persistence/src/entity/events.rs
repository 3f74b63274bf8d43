//! The table of events: what happened, for people, and the memory of outcomes.

use cairn_runtime::store::Event;
use cairn_runtime::{FlowId, InputId, Timestamp};
use sea_orm::entity::prelude::*;

use super::{fixed, id, number};

/// An event. Its input names it: one input takes effect once.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "events")]
pub struct Model {
    /// The flow; for an act, the act's own id.
    pub flow: Vec<u8>,
    /// The flow's version after it; 1 for an act.
    pub version: i64,
    /// The input that caused it.
    #[sea_orm(primary_key, auto_increment = false)]
    pub input: Vec<u8>,
    /// The flow's kind or the act's name.
    pub kind: String,
    /// The input's name.
    pub name: String,
    /// The phase before; empty at a start and for an act.
    pub from: String,
    /// The phase after; empty for an act.
    pub to: String,
    /// What the flow showed after it, as JSON.
    #[sea_orm(column_type = "Text")]
    pub public: String,
    /// What the asker was told, as JSON.
    #[sea_orm(column_type = "Text")]
    pub outcome: String,
    /// A keyed hash of sixteen bytes of the request's body.
    pub fingerprint: Option<Vec<u8>>,
    /// The node that committed it.
    pub node: String,
    /// The request or delivery that caused it.
    pub trace: String,
    /// When.
    pub at: i64,
    /// Whose history it belongs to.
    pub user_id: Option<Vec<u8>>,
}

/// It stands alone: history outlives what it tells of.
#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl TryFrom<Model> for Event {
    type Error = DbErr;

    fn try_from(stored: Model) -> Result<Self, DbErr> {
        Ok(Self {
            flow: FlowId(id(&stored.flow)?),
            version: number(stored.version)?,
            input: InputId(id(&stored.input)?),
            kind: stored.kind,
            name: stored.name,
            from: stored.from,
            to: stored.to,
            public: stored.public,
            outcome: stored.outcome,
            fingerprint: stored.fingerprint.as_deref().map(fixed).transpose()?,
            node: stored.node,
            trace: stored.trace,
            at: Timestamp(stored.at),
            user: stored.user_id.as_deref().map(id).transpose()?,
        })
    }
}
