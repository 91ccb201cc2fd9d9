-- Activity of each database and of shared objects; times in whole microseconds.
-- Privileges: none. Cost: some 0.1 ms a database.
copy (
    select
        datid,
        numbackends,
        xact_commit,
        xact_rollback,
        blks_read,
        blks_hit,
        tup_returned,
        tup_fetched,
        tup_inserted,
        tup_updated,
        tup_deleted,
        conflicts,
        temp_files,
        temp_bytes,
        deadlocks,
        checksum_failures,
        checksum_last_failure,
        (blk_read_time * 1000)::bigint,
        (blk_write_time * 1000)::bigint,
        (session_time * 1000)::bigint,
        (active_time * 1000)::bigint,
        (idle_in_transaction_time * 1000)::bigint,
        sessions,
        sessions_abandoned,
        sessions_fatal,
        sessions_killed,
        null,
        null,
        stats_reset
    from pg_catalog.pg_stat_database
) to stdout;
