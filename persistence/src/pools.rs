//! How busy the connections are: what of them is open, what is in use, and how many callers wait for one.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sea_orm::{DatabaseTransaction, DbErr};

/// The connections of one kind, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Connections that are open.
    pub open: usize,
    /// Those of them on which something runs.
    pub in_use: usize,
    /// Callers that wait for one.
    pub waiting: usize,
    /// How many there may be.
    pub most: usize,
}

/// Statements and transactions that have begun to ask for a connection and have not ended. Clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls(Arc<AtomicUsize>);

/// One of them. It ends when dropped.
#[derive(Debug)]
pub(crate) struct Call(Arc<AtomicUsize>);

impl Calls {
    pub(crate) fn one_more(&self) -> Call {
        self.0.fetch_add(1, Ordering::Relaxed);
        Call(Arc::clone(&self.0))
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A transaction that writes, counted among the calls until it has ended.
#[derive(Debug)]
pub struct Transaction {
    beneath: DatabaseTransaction,
    _call: Call,
}

impl Transaction {
    pub(crate) fn new(beneath: DatabaseTransaction, call: Call) -> Self {
        Self { beneath, _call: call }
    }

    /// Makes what it did durable.
    ///
    /// # Errors
    /// What the database says; it may have been done even so.
    pub async fn commit(self) -> Result<(), DbErr> {
        self.beneath.commit().await
    }

    /// Undoes what it did.
    ///
    /// # Errors
    /// What the database says; the connection is not used again then.
    pub async fn rollback(self) -> Result<(), DbErr> {
        self.beneath.rollback().await
    }
}

impl Deref for Transaction {
    type Target = DatabaseTransaction;

    fn deref(&self) -> &DatabaseTransaction {
        &self.beneath
    }
}
