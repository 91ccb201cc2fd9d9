-- What tells that counters began anew: for the cluster, and for the database of this session.
-- A crash zeroes all cumulative statistics and shows only in the resets of these four shared views.
-- Privileges: none beyond connecting. Cost: some 0.2 ms.
select
    (select system_identifier from pg_catalog.pg_control_system()) as system_identifier,
    case
        when pg_catalog.pg_is_in_recovery() then (select timeline_id from pg_catalog.pg_control_checkpoint())
        else ('x' || pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8))::bit(32)::int
    end as timeline,
    (
        select pg_catalog.min(stats_reset)
        from (
            select stats_reset from pg_catalog.pg_stat_archiver
            union all select stats_reset from pg_catalog.pg_stat_bgwriter
            union all select stats_reset from pg_catalog.pg_stat_wal
            union all select stats_reset from pg_catalog.pg_stat_slru
        ) as shared
    ) as cluster_reset,
    (
        select pg_catalog.pg_stat_get_db_stat_reset_time(oid)
        from pg_catalog.pg_database
        where datname = pg_catalog.current_database()
    ) as database_reset;
