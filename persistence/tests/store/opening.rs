//! Opening: who may, what is there then, and who else sees it.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use cairn_persistence::migration::Migrator;
use cairn_persistence::{Database, OpenError, Options};
use futures_util::future::join_all;
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use sea_orm_migration::MigratorTrait;

use crate::support::{Kind, Place, on_both};

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

async fn a_database_of_a_later_release_is_refused_by_name_before_anything_is_written(kind: Kind) {
    let place = Place::new(kind).await;
    let database = place.open().await;
    // As a later release leaves it: migrated further, and with nothing in it that this one would make.
    let later = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m99991231_000001_later', 0)";
    database.writer().execute_unprepared(later).await.unwrap();
    let gone = "DELETE FROM seaql_migrations WHERE version LIKE 'm20261130%'";
    database.writer().execute_unprepared(gone).await.unwrap();
    if kind == Kind::Postgres {
        database.writer().execute_unprepared("DROP TABLE migration_lock").await.unwrap();
    }
    database.close().await.unwrap();
    drop(database);

    let refused = Database::open(&place.address, &Options::default()).await.unwrap_err();
    let newest = Migrator::migrations().last().unwrap().name().to_owned();
    let OpenError::Later { unknown, known } = &refused else { panic!("{refused:?}") };
    assert_eq!((unknown.as_str(), known.as_str()), ("m99991231_000001_later", newest.as_str()));
    let said = refused.to_string();
    assert!(said.contains("m99991231_000001_later") && said.contains(&newest), "{said}");

    let raw = sea_orm::Database::connect(match kind {
        Kind::Sqlite => format!("sqlite://{}", place.address),
        Kind::Postgres => place.address.clone(),
    });
    let raw = raw.await.unwrap();
    let count = |sql: &'static str| {
        let statement = Statement::from_string(raw.get_database_backend(), sql);
        async { raw.query_one_raw(statement).await.unwrap().unwrap().try_get_by_index::<i64>(0).unwrap() }
    };
    let left = count("SELECT count(*) FROM seaql_migrations WHERE version LIKE 'm20261130%'").await;
    assert_eq!(left, 0, "nothing was migrated");
    if kind == Kind::Postgres {
        assert_eq!(count("SELECT count(*) FROM pg_class WHERE relname = 'migration_lock'").await, 0);
    }
}

on_both!(a_database_of_a_later_release_is_refused_by_name_before_anything_is_written);

#[tokio::test]
async fn a_database_that_cannot_hold_every_name_is_refused_by_its_encoding() {
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let place = Place::encoded(encoding).await;
        let refused = Database::open(&place.address, &Options::default()).await.unwrap_err();
        assert!(matches!(&refused, OpenError::Encoding(found) if found == encoding), "{refused:?}");
        assert!(refused.to_string().contains(&format!("encoding is {encoding}")), "{refused}");
    }
}

#[tokio::test]
async fn a_file_in_another_encoding_of_unicode_holds_every_name() {
    let place = Place::new(Kind::Sqlite).await;
    let raw = sea_orm::Database::connect(format!("sqlite://{}?mode=rwc", place.address)).await.unwrap();
    raw.execute_unprepared("PRAGMA encoding = 'UTF-16le'").await.unwrap();
    raw.execute_unprepared("CREATE TABLE elsewhere (a TEXT)").await.unwrap();
    raw.close().await.unwrap();
    let counted = place.store().await;
    assert_eq!(texts(&counted.database, "PRAGMA encoding").await, BTreeSet::from(["UTF-16le".to_owned()]));
    let add = "INSERT INTO settings (name, value) VALUES ('name', 'Łukasz 🗝')";
    counted.database.writer().execute_unprepared(add).await.unwrap();
    let held = texts(&counted.database, "SELECT value FROM settings").await;
    assert_eq!(held, BTreeSet::from(["Łukasz 🗝".to_owned()]));
}
