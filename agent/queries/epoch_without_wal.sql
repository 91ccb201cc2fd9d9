-- The same as `epoch`, for servers that have no pg_stat_wal or no pg_stat_slru, as some that only resemble PostgreSQL.
-- Privileges: none beyond connecting. Cost: some 0.2 ms.
select
    (select system_identifier from pg_catalog.pg_control_system()) as system_identifier,
    (select timeline_id from pg_catalog.pg_control_checkpoint()) as timeline,
    (
        select pg_catalog.min(stats_reset)
        from (
            select stats_reset from pg_catalog.pg_stat_archiver
            union all select stats_reset from pg_catalog.pg_stat_bgwriter
        ) as shared
    ) as cluster_reset,
    (
        select pg_catalog.pg_stat_get_db_stat_reset_time(oid)
        from pg_catalog.pg_database
        where datname = pg_catalog.current_database()
    ) as database_reset;
