-- What the server is.
-- Privileges: pg_read_all_settings (in pg_monitor) for data_directory; null without. Cost: some 0.5 ms.
select
    (select system_identifier from pg_catalog.pg_control_system()),
    pg_catalog.current_setting('server_version_num'),
    pg_catalog.current_setting('server_version'),
    nullif(pg_catalog.current_setting('cluster_name'), ''),
    pg_catalog.current_setting('port'),
    (select setting from pg_catalog.pg_settings where name = 'data_directory'),
    -- A promoted standby writes its WAL on the new timeline at once, before its control file says so.
    case
        when pg_catalog.pg_is_in_recovery() then (select timeline_id from pg_catalog.pg_control_checkpoint())
        else ('x' || pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8))::bit(32)::int
    end,
    pg_catalog.pg_is_in_recovery(),
    pg_catalog.pg_postmaster_start_time();
