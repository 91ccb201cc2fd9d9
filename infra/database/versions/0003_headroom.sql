-- Size of every database on disk (pg_database_size), those that nobody may connect to included.
create table metric.database_size (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    datid oid not null,
    size_bytes bigint
) partition by range (collected_at);
create index on metric.database_size (target_id, collected_at);

-- Tablespaces, where they are, and their size on disk (pg_tablespace_size).
create table metric.tablespace_size (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    spcid oid not null,
    spcname text,
    location text,
    size_bytes bigint
) partition by range (collected_at);
create index on metric.tablespace_size (target_id, collected_at);

-- What lies in pg_wal, and what of it waits for the archiver (pg_ls_waldir, pg_ls_archive_statusdir).
create table metric.wal_files (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    segments bigint,
    recycled_segments bigint,
    size_bytes bigint,
    oldest_modified_at timestamp with time zone,
    ready_files bigint,
    oldest_ready_at timestamp with time zone
) partition by range (collected_at);
create index on metric.wal_files (target_id, collected_at);

-- How far each database is from its last complete freezing (pg_database); limits are in the metric setting.
create table metric.xid_age (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    datid oid not null,
    datfrozenxid_age bigint,
    datminmxid_age bigint
) partition by range (collected_at);
create index on metric.xid_age (target_id, collected_at);

-- Prepared transactions (pg_prepared_xacts). Their names are the application's own text, and stay there.
create table metric.prepared_xact (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    transaction bigint not null,
    datid oid,
    ownerid oid,
    prepared_at timestamp with time zone,
    transaction_age bigint
) partition by range (collected_at);
create index on metric.prepared_xact (target_id, collected_at);

-- Who keeps dead rows from being removed: sessions, replication slots, prepared transactions, standbys.
create table metric.xmin_holder (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    kind text not null,
    holder text not null,
    datid oid,
    user_name text,
    application_name text,
    state text,
    xmin_age bigint,
    held_since_at timestamp with time zone
) partition by range (collected_at);
create index on metric.xmin_holder (target_id, collected_at);
