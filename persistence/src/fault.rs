//! What an error of the database means to the engine: nothing was done, it may have been done, or the disk lies.

use cairn_runtime::store::StoreFault;
use sea_orm::{DbErr, RuntimeErr};
use sqlx::postgres::{PgDatabaseError, PgSeverity};

/// How far a call had come when the error arose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// A connection or a transaction was asked for: nothing can have been done.
    Begin,
    /// A read, or a statement inside a transaction that is rolled back now: nothing was done.
    Within,
    /// COMMIT was sent, or a statement that commits by itself: a lost answer leaves it open.
    Commit,
}

/// Sorts an error.
pub(crate) fn fault(stage: Stage, error: &DbErr) -> StoreFault {
    let why = error.to_string();
    let cause = match error {
        DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => return StoreFault::Unavailable(why),
        DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause)) => cause,
        _ if stage == Stage::Begin => return StoreFault::Unavailable(why),
        _ => return StoreFault::Unexpected(why),
    };
    let lost = |why| if stage == Stage::Commit { StoreFault::Ambiguous(why) } else { StoreFault::Unavailable(why) };
    let sorted = match &**cause {
        sqlx::Error::Database(refusal) => match refusal.try_downcast_ref::<PgDatabaseError>() {
            Some(refusal) => postgres(refusal.code(), refusal.severity(), refusal.message(), stage),
            None => sqlite(refusal.code().and_then(|code| code.parse().ok()).unwrap_or_default(), stage),
        },
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::BeginFailed => StoreFault::Unavailable,
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
            return lost(why);
        }
        _ => StoreFault::Unexpected,
    };
    match sorted(why) {
        StoreFault::Unexpected(why) if stage == Stage::Begin => StoreFault::Unavailable(why),
        fault => fault,
    }
}

type Sort = fn(String) -> StoreFault;

/// The codes are those of PostgreSQL's appendix A; the engines that speak its protocol share them.
fn postgres(code: &str, severity: PgSeverity, message: &str, stage: Stage) -> Sort {
    if severity == PgSeverity::Panic && message.contains("fsync") {
        return StoreFault::SyncFailed;
    }
    // The connection is gone with this message (08: connection, 57P: shutdown, 40003: by its own words unknown), or
    // the server gave up waiting for a replica after it had committed.
    let cut = matches!(severity, PgSeverity::Panic | PgSeverity::Fatal)
        || code.starts_with("08")
        || code.starts_with("57P")
        || code == "40003";
    if cut {
        return if stage == Stage::Commit { StoreFault::Ambiguous } else { StoreFault::Unavailable };
    }
    match code {
        "40001" | "40P01" => StoreFault::Conflict,
        "53100" => StoreFault::Full,
        // No memory, no connections, a lock or an answer not had in time, an I/O error, a server that only reads (a
        // standby after a fail-over).
        "53000" | "53200" | "53300" | "55P03" | "57014" | "58030" | "25006" => StoreFault::Unavailable,
        _ => StoreFault::Unexpected,
    }
}

/// The low byte of a result code of SQLite is its kind, the rest says which (<https://www.sqlite.org/rescode.html>).
fn sqlite(code: u32, stage: Stage) -> Sort {
    const BUSY: u32 = 5;
    const LOCKED: u32 = 6;
    const NO_MEMORY: u32 = 7;
    const READ_ONLY: u32 = 8;
    const INPUT_OUTPUT: u32 = 10;
    const FULL: u32 = 13;
    const CANNOT_OPEN: u32 = 14;
    const SYNC: u32 = INPUT_OUTPUT | (4 << 8);
    const SYNC_FOLDER: u32 = INPUT_OUTPUT | (5 << 8);

    match (code, code & 0xff) {
        (SYNC | SYNC_FOLDER, _) => StoreFault::SyncFailed,
        // The frame that commits may be in the log already, and would be found there at the next start.
        (_, INPUT_OUTPUT) if stage == Stage::Commit => StoreFault::Ambiguous,
        (_, BUSY | LOCKED | NO_MEMORY | READ_ONLY | INPUT_OUTPUT | CANNOT_OPEN) => StoreFault::Unavailable,
        (_, FULL) => StoreFault::Full,
        _ => StoreFault::Unexpected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAGES: [Stage; 3] = [Stage::Begin, Stage::Within, Stage::Commit];

    fn said(sort: Sort) -> StoreFault {
        sort(String::new())
    }

    #[test]
    fn a_failed_sync_is_told_from_all_else_at_any_stage() {
        let panic = "could not fsync file \"base/1/2\": Input/output error";
        for stage in STAGES {
            assert_eq!(said(sqlite(1034, stage)), StoreFault::SyncFailed(String::new()));
            assert_eq!(said(sqlite(1290, stage)), StoreFault::SyncFailed(String::new()));
            assert_eq!(said(postgres("58030", PgSeverity::Panic, panic, stage)), StoreFault::SyncFailed(String::new()));
        }
    }

    #[test]
    fn a_write_that_failed_within_a_commit_leaves_it_open_and_a_full_disk_does_not() {
        let write_failed = 10 | (3 << 8);
        assert_eq!(said(sqlite(write_failed, Stage::Commit)), StoreFault::Ambiguous(String::new()));
        assert_eq!(said(sqlite(write_failed, Stage::Within)), StoreFault::Unavailable(String::new()));
        for stage in STAGES {
            assert_eq!(said(sqlite(13, stage)), StoreFault::Full(String::new()));
            assert_eq!(said(sqlite(5, stage)), StoreFault::Unavailable(String::new()));
            assert_eq!(said(sqlite(19 | (8 << 8), stage)), StoreFault::Unexpected(String::new()));
        }
    }

    #[test]
    fn a_server_that_goes_down_leaves_a_commit_open_and_nothing_else() {
        for (code, severity) in
            [("57P01", PgSeverity::Fatal), ("57P02", PgSeverity::Fatal), ("08006", PgSeverity::Error)]
        {
            assert_eq!(said(postgres(code, severity, "", Stage::Within)), StoreFault::Unavailable(String::new()));
            assert_eq!(said(postgres(code, severity, "", Stage::Commit)), StoreFault::Ambiguous(String::new()));
        }
        for stage in STAGES {
            assert_eq!(said(postgres("40001", PgSeverity::Error, "", stage)), StoreFault::Conflict(String::new()));
            assert_eq!(said(postgres("55P03", PgSeverity::Error, "", stage)), StoreFault::Unavailable(String::new()));
            assert_eq!(said(postgres("53100", PgSeverity::Error, "", stage)), StoreFault::Full(String::new()));
            assert_eq!(said(postgres("23505", PgSeverity::Error, "", stage)), StoreFault::Unexpected(String::new()));
        }
    }
}
