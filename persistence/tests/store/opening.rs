//! Opening: who may, what is there then, and who else sees it.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use cairn_persistence::migration::Migrator;
use cairn_persistence::{Database, OpenError, Options};
use futures_util::future::join_all;
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use sea_orm_migration::MigratorTrait;

use crate::support::{Kind, Place};

async fn texts(database: &Database, sql: &str) -> BTreeSet<String> {
    let rows = database.readers().query_all_raw(Statement::from_string(database.backend(), sql)).await.unwrap();
    rows.iter().map(|row| row.try_get_by_index::<String>(0).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn four_that_migrate_an_empty_database_at_once_all_succeed() {
    let place = Place::new(Kind::Postgres).await;
    let opened = join_all((0..4).map(|_| {
        let address = place.address.clone();
        tokio::task::spawn(async move { Database::open(&address, &Options::default()).await })
    }));
    for opened in opened.await {
        let database = opened.unwrap().unwrap();
        let applied = texts(&database, "SELECT version FROM seaql_migrations").await;
        assert_eq!(applied.len(), Migrator::migrations().len(), "{applied:?}");
    }
}

#[tokio::test]
async fn a_second_process_is_kept_off_a_file_and_told_its_name() {
    let place = Place::new(Kind::Sqlite).await;
    let first = place.open().await;
    let linked = place.folder().join("linked.db");
    std::os::unix::fs::symlink(&place.address, &linked).unwrap();
    for path in [place.address.as_str(), linked.to_str().unwrap(), &format!("sqlite://{}", place.address)] {
        let refused = Database::open(path, &Options::default()).await.unwrap_err();
        assert!(matches!(refused, OpenError::InUse(_)), "{refused:?}");
        assert_eq!(refused.to_string(), format!("{} is in use by another cairn process", place.address));
    }
    first.close().await.unwrap();
    drop(first);
    place.open().await;
}

#[tokio::test]
async fn a_file_is_for_its_owner_only() {
    let place = Place::new(Kind::Sqlite).await;
    let database = place.open().await;
    let mode = |name: &str| std::fs::metadata(place.folder().join(name)).unwrap().permissions().mode() & 0o777;
    for name in ["cairn.db", "cairn.db-wal", "cairn.db-shm", "cairn.db.lock"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    database.close().await.unwrap();
    drop(database);
    std::fs::set_permissions(&place.address, PermissionsExt::from_mode(0o644)).unwrap();
    let _again = place.open().await;
    assert_eq!(mode("cairn.db"), 0o600);
}

#[tokio::test]
async fn what_is_no_address_is_refused_without_its_password() {
    for address in ["mysql://cairn:s3cret@host/cairn", "", "sqlite::memory:", "sqlite://"] {
        let refused = Database::open(address, &Options::default()).await.unwrap_err();
        assert!(matches!(refused, OpenError::Address(_)), "{address}: {refused:?}");
        assert!(!refused.to_string().contains("s3cret"), "{refused}");
    }
    let nowhere = Database::open("/nowhere/at/all/cairn.db", &Options::default()).await.unwrap_err();
    assert!(nowhere.to_string().starts_with("/nowhere/at/all/cairn.db: "), "{nowhere}");
}

#[tokio::test]
async fn both_databases_have_the_same_tables_columns_and_indexes() {
    let files = Place::new(Kind::Sqlite).await;
    let servers = Place::new(Kind::Postgres).await;
    let (sqlite, postgres) = (files.open().await, servers.open().await);
    assert_eq!((sqlite.backend(), postgres.backend()), (DbBackend::Sqlite, DbBackend::Postgres));

    let here = texts(
        &sqlite,
        r#"SELECT t.name || '.' || c.name || CASE WHEN c."notnull" OR c.pk > 0 THEN ' not null' ELSE '' END
           FROM sqlite_schema AS t JOIN pragma_table_info(t.name) AS c WHERE t.type = 'table'"#,
    );
    let there = texts(
        &postgres,
        "SELECT table_name || '.' || column_name || CASE is_nullable WHEN 'NO' THEN ' not null' ELSE '' END
         FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'migration_lock'",
    );
    let (here, there) = (here.await, there.await);
    assert!(here.contains("flows.version not null") && here.contains("users.email_key not null"), "{here:#?}");
    assert_eq!(here, there);

    let here = texts(&sqlite, "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL");
    let there = texts(
        &postgres,
        "SELECT indexname::text FROM pg_indexes WHERE schemaname = 'public' AND indexname NOT LIKE '%\\_pkey'
         AND indexname NOT LIKE '%\\_key'",
    );
    let (here, there) = (here.await, there.await);
    assert!(here.contains("flows_due") && here.contains("outbox_due"), "{here:#?}");
    assert_eq!(here, there);
}

#[tokio::test]
async fn readers_cannot_write() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let place = Place::new(kind).await;
        let database = place.open().await;
        let write = "INSERT INTO settings (name, value) VALUES ('a', 'b')";
        database.readers().execute_unprepared(write).await.unwrap_err();
        assert_eq!(texts(&database, "SELECT name FROM settings").await, BTreeSet::new());
        database.writer().execute_unprepared(write).await.unwrap();
        assert_eq!(texts(&database, "SELECT name FROM settings").await.len(), 1);
    }
}

#[tokio::test]
async fn a_database_of_a_newer_release_still_serves_this_one() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let place = Place::new(kind).await;
        let database = place.open().await;
        let newer = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m99991231_000001_newer', 0)";
        database.writer().execute_unprepared(newer).await.unwrap();
        database.close().await.unwrap();
        drop(database);
        let again = place.open().await;
        let applied = texts(&again, "SELECT version FROM seaql_migrations").await;
        assert_eq!(applied.len(), Migrator::migrations().len() + 1, "{applied:?}");
    }
}
