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
        stats_since,
        minmax_stats_since,
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
        (shared_blk_read_time * 1000::float8)::bigint,
        (shared_blk_write_time * 1000::float8)::bigint,
        (local_blk_read_time * 1000::float8)::bigint,
        (local_blk_write_time * 1000::float8)::bigint,
        (temp_blk_read_time * 1000::float8)::bigint,
        (temp_blk_write_time * 1000::float8)::bigint,
        wal_records,
        wal_fpi,
        wal_bytes::bigint,
        null,
        jit_functions,
        (jit_generation_time * 1000::float8)::bigint,
        jit_inlining_count,
        (jit_inlining_time * 1000::float8)::bigint,
        jit_optimization_count,
        (jit_optimization_time * 1000::float8)::bigint,
        jit_emission_count,
        (jit_emission_time * 1000::float8)::bigint,
        jit_deform_count,
        (jit_deform_time * 1000::float8)::bigint,
        null,
        null
    from pg_stat_statements(false)
    where queryid is not null
    order by total_exec_time desc
    limit %(at_most)s
) to stdout;
