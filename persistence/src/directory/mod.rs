//! The reads of auth's services, a file for each resource: one query each, or one for all who ask at the same time, on
//! connections that cannot write.

mod clients;
mod consents;
mod devices;
mod failures;
mod fences;
mod flows;
mod history;
mod letters;
mod resources;
mod sessions;
mod users;

use std::sync::Arc;

use cairn_actors::directory::Directory;
use cairn_actors::workers::budget::SentLetters;
use cairn_runtime::store::StoreFault;
use sea_orm::DbErr;

use crate::connect::Database;
use crate::fault::{Stage, fault};

impl Database {
    /// All that auth's services read, through the database's readers. Those who share one directory share its queries of
    /// sessions.
    pub fn directory(&self) -> Directory {
        Directory {
            users: Arc::new(users::SqlUsers(self.clone())),
            sessions: Arc::new(sessions::SqlSessions::new(self.clone())),
            flows: Arc::new(flows::SqlFlows(self.clone())),
            devices: Arc::new(devices::SqlDevices(self.clone())),
            consents: Arc::new(consents::SqlConsents(self.clone())),
            fences: Arc::new(fences::SqlFences(self.clone())),
            history: Arc::new(history::SqlHistory(self.clone())),
            failures: Arc::new(failures::SqlFailures(self.clone())),
            letters: Arc::new(letters::SqlLetters(self.clone())),
            clients: Arc::new(clients::SqlClients(self.clone())),
            resources: Arc::new(resources::SqlResources(self.clone())),
        }
    }

    /// What the budget of mails counts.
    pub fn sent_letters(&self) -> Arc<dyn SentLetters> {
        Arc::new(letters::SqlLetters(self.clone()))
    }
}

fn read_fault(error: DbErr) -> StoreFault {
    fault(Stage::Within, &error)
}
