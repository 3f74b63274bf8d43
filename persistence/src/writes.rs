//! What auth writes besides rows of flows: a file for each table, which has both forms of what a batch writes to it, the
//! statements of a transaction and the parts of the one statement that PostgreSQL is sent when nothing is contested.

mod clients;
mod consents;
mod devices;
mod failures;
mod resources;
mod rows;
mod users;

use cairn_actors::effects::{Auth, UserWrite, Write};
use cairn_actors::identity::user_id::UserId;
use futures_util::future::BoxFuture;
use sea_orm::{DatabaseTransaction, DbErr};

use crate::single::Part;
use crate::store::Writes;

/// What one batch writes to one table.
trait Table: Default {
    /// The table's own vocabulary.
    type Write;

    /// Takes a write.
    fn take(&mut self, write: &Self::Write);

    /// Takes that a user is deleted in this batch, for a table that holds something of theirs.
    fn take_deletion(&mut self, _user: UserId) {}

    /// Writes everything that was taken: one statement for each kind of write that is present, however many there are
    /// of it.
    async fn apply(self, transaction: &DatabaseTransaction) -> Result<(), DbErr>;

    /// The same as parts of one statement. `None` when it takes a transaction: when one of the writes must see what
    /// another did, or is so rare that nobody waits for it.
    fn parts(self) -> Result<Option<Vec<Part>>, DbErr>;
}

macro_rules! tables {
    ($($word:ident => $table:ident: $batch:ty),+ $(,)?) => {
        /// What one batch writes, table by table.
        #[derive(Default)]
        struct Batch {
            $($table: $batch),+
        }

        impl Batch {
            fn of(writes: &[&Write]) -> Self {
                let mut batch = Self::default();
                for write in writes {
                    if let Write::User(UserWrite::Delete { user }) = write {
                        $(batch.$table.take_deletion(*user);)+
                    }
                    match write {
                        $(Write::$word(write) => batch.$table.take(write)),+
                    }
                }
                batch
            }

            async fn apply(self, transaction: &DatabaseTransaction) -> Result<(), DbErr> {
                $(self.$table.apply(transaction).await?;)+
                Ok(())
            }

            fn parts(self) -> Result<Option<Vec<Part>>, DbErr> {
                let mut all = Vec::new();
                $(
                    let Some(parts) = self.$table.parts()? else { return Ok(None) };
                    all.extend(parts);
                )+
                Ok(Some(all))
            }
        }
    };
}

// In this order they are written, and their rows locked, by every batch of every node.
tables! {
    User => users: users::Users,
    Failure => failures: failures::Failures,
    Device => devices: devices::Devices,
    Client => clients: clients::Clients,
    Resource => resources: resources::Resources,
    Consent => consents: consents::Consents,
}

/// The writes of auth.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuthWrites;

impl Writes<Auth> for AuthWrites {
    fn apply<'a>(
        &'a self,
        transaction: &'a DatabaseTransaction,
        writes: Vec<&'a Write>,
    ) -> BoxFuture<'a, Result<(), DbErr>> {
        Box::pin(Batch::of(&writes).apply(transaction))
    }

    fn parts(&self, writes: &[&Write]) -> Result<Option<Vec<Part>>, DbErr> {
        Batch::of(writes).parts()
    }
}
