-- Statements with the most execution time; by the function, since the view fetches every text whatever is selected.
-- Every operator meets its own types: the extension's schema is on the search path, and others may write there.
-- Privileges: pg_read_all_stats (in pg_monitor). Cost: some 6 ms for 2,000 statements, 20 ms for 5,000.
-- Parameter: at_most.
copy (
    select
        userid,
        dbid,
        queryid,
        toplevel,
        null,
        null,
        calls,
        plans,
        rows,
        (total_exec_time * 1000::float8)::bigint,
        (min_exec_time * 1000::float8)::bigint,
        (max_exec_time * 1000::float8)::bigint,
        (mean_exec_time * 1000::float8)::bigint,
        (stddev_exec_time * 1000::float8)::bigint,
        (total_plan_time * 1000::float8)::bigint,
        (min_plan_time * 1000::float8)::bigint,
        (max_plan_time * 1000::float8)::bigint,
        (mean_plan_time * 1000::float8)::bigint,
        (stddev_plan_time * 1000::float8)::bigint,
        shared_blks_hit,
        shared_blks_read,
        shared_blks_dirtied,
        shared_blks_written,
        local_blks_hit,
        local_blks_read,
        local_blks_dirtied,
        local_blks_written,
        temp_blks_read,
        temp_blks_written,
        (blk_read_time * 1000::float8)::bigint,
        (blk_write_time * 1000::float8)::bigint,
        null,
        null,
        null,
        null,
        wal_records,
        wal_fpi,
        wal_bytes::bigint,
        null,
        null,
        null,
        null,
        null,
        null,
        null,
        null,
        null,
        null,
        null,
        null,
        null
    from pg_stat_statements(false)
    where queryid is not null
    order by total_exec_time desc
    limit %(at_most)s
) to stdout;
