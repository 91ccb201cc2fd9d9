-- Statements by shape, user and database (pg_stat_statements), those with the most execution time; one that falls below the cap is gone until it is back.
create table metric.statement_stats (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    epoch bigint not null,
    gone boolean not null,
    userid oid not null,
    dbid oid not null,
    queryid bigint not null,
    toplevel boolean not null,
    stats_since_at timestamp with time zone,
    minmax_stats_since_at timestamp with time zone,
    calls bigint,
    plans bigint,
    rows bigint,
    total_exec_time_us bigint,
    min_exec_time_us bigint,
    max_exec_time_us bigint,
    mean_exec_time_us bigint,
    stddev_exec_time_us bigint,
    total_plan_time_us bigint,
    min_plan_time_us bigint,
    max_plan_time_us bigint,
    mean_plan_time_us bigint,
    stddev_plan_time_us bigint,
    shared_blks_hit bigint,
    shared_blks_read bigint,
    shared_blks_dirtied bigint,
    shared_blks_written bigint,
    local_blks_hit bigint,
    local_blks_read bigint,
    local_blks_dirtied bigint,
    local_blks_written bigint,
    temp_blks_read bigint,
    temp_blks_written bigint,
    shared_blk_read_time_us bigint,
    shared_blk_write_time_us bigint,
    local_blk_read_time_us bigint,
    local_blk_write_time_us bigint,
    temp_blk_read_time_us bigint,
    temp_blk_write_time_us bigint,
    wal_records bigint,
    wal_fpi bigint,
    wal_bytes bigint,
    wal_buffers_full bigint,
    jit_functions bigint,
    jit_generation_time_us bigint,
    jit_inlining_count bigint,
    jit_inlining_time_us bigint,
    jit_optimization_count bigint,
    jit_optimization_time_us bigint,
    jit_emission_count bigint,
    jit_emission_time_us bigint,
    jit_deform_count bigint,
    jit_deform_time_us bigint,
    parallel_workers_to_launch bigint,
    parallel_workers_launched bigint
) partition by range (collected_at);
create index on metric.statement_stats (target_id, collected_at);
create function delta.statement_stats(
    of_target bigint, from_at timestamptz, until_at timestamptz, lookback interval default '3 hours'
) returns table (
    target_id bigint, collected_at timestamptz, since_at timestamptz, fell boolean, userid oid, dbid oid,
    queryid bigint, toplevel boolean, stats_since_at timestamp with time zone,
    minmax_stats_since_at timestamp with time zone, calls bigint, plans bigint, rows bigint,
    total_exec_time_us bigint, min_exec_time_us bigint, max_exec_time_us bigint,
    mean_exec_time_us bigint, stddev_exec_time_us bigint, total_plan_time_us bigint,
    min_plan_time_us bigint, max_plan_time_us bigint, mean_plan_time_us bigint,
    stddev_plan_time_us bigint, shared_blks_hit bigint, shared_blks_read bigint,
    shared_blks_dirtied bigint, shared_blks_written bigint, local_blks_hit bigint,
    local_blks_read bigint, local_blks_dirtied bigint, local_blks_written bigint, temp_blks_read bigint,
    temp_blks_written bigint, shared_blk_read_time_us bigint, shared_blk_write_time_us bigint,
    local_blk_read_time_us bigint, local_blk_write_time_us bigint, temp_blk_read_time_us bigint,
    temp_blk_write_time_us bigint, wal_records bigint, wal_fpi bigint, wal_bytes bigint,
    wal_buffers_full bigint, jit_functions bigint, jit_generation_time_us bigint,
    jit_inlining_count bigint, jit_inlining_time_us bigint, jit_optimization_count bigint,
    jit_optimization_time_us bigint, jit_emission_count bigint, jit_emission_time_us bigint,
    jit_deform_count bigint, jit_deform_time_us bigint, parallel_workers_to_launch bigint,
    parallel_workers_launched bigint
) language sql stable as $$
    select
        m.target_id, m.collected_at, f.since_at, coalesce(fell, false), m.userid, m.dbid, m.queryid,
        m.toplevel, m.stats_since_at, m.minmax_stats_since_at,
        case when not fell then m.calls - (p).calls end, case when not fell then m.plans - (p).plans end,
        case when not fell then m.rows - (p).rows end,
        case when not fell then m.total_exec_time_us - (p).total_exec_time_us end, m.min_exec_time_us,
        m.max_exec_time_us, m.mean_exec_time_us, m.stddev_exec_time_us,
        case when not fell then m.total_plan_time_us - (p).total_plan_time_us end, m.min_plan_time_us,
        m.max_plan_time_us, m.mean_plan_time_us, m.stddev_plan_time_us,
        case when not fell then m.shared_blks_hit - (p).shared_blks_hit end,
        case when not fell then m.shared_blks_read - (p).shared_blks_read end,
        case when not fell then m.shared_blks_dirtied - (p).shared_blks_dirtied end,
        case when not fell then m.shared_blks_written - (p).shared_blks_written end,
        case when not fell then m.local_blks_hit - (p).local_blks_hit end,
        case when not fell then m.local_blks_read - (p).local_blks_read end,
        case when not fell then m.local_blks_dirtied - (p).local_blks_dirtied end,
        case when not fell then m.local_blks_written - (p).local_blks_written end,
        case when not fell then m.temp_blks_read - (p).temp_blks_read end,
        case when not fell then m.temp_blks_written - (p).temp_blks_written end,
        case when not fell then m.shared_blk_read_time_us - (p).shared_blk_read_time_us end,
        case when not fell then m.shared_blk_write_time_us - (p).shared_blk_write_time_us end,
        case when not fell then m.local_blk_read_time_us - (p).local_blk_read_time_us end,
        case when not fell then m.local_blk_write_time_us - (p).local_blk_write_time_us end,
        case when not fell then m.temp_blk_read_time_us - (p).temp_blk_read_time_us end,
        case when not fell then m.temp_blk_write_time_us - (p).temp_blk_write_time_us end,
        case when not fell then m.wal_records - (p).wal_records end,
        case when not fell then m.wal_fpi - (p).wal_fpi end,
        case when not fell then m.wal_bytes - (p).wal_bytes end,
        case when not fell then m.wal_buffers_full - (p).wal_buffers_full end,
        case when not fell then m.jit_functions - (p).jit_functions end,
        case when not fell then m.jit_generation_time_us - (p).jit_generation_time_us end,
        case when not fell then m.jit_inlining_count - (p).jit_inlining_count end,
        case when not fell then m.jit_inlining_time_us - (p).jit_inlining_time_us end,
        case when not fell then m.jit_optimization_count - (p).jit_optimization_count end,
        case when not fell then m.jit_optimization_time_us - (p).jit_optimization_time_us end,
        case when not fell then m.jit_emission_count - (p).jit_emission_count end,
        case when not fell then m.jit_emission_time_us - (p).jit_emission_time_us end,
        case when not fell then m.jit_deform_count - (p).jit_deform_count end,
        case when not fell then m.jit_deform_time_us - (p).jit_deform_time_us end,
        case when not fell then m.parallel_workers_to_launch - (p).parallel_workers_to_launch end,
        case when not fell then m.parallel_workers_launched - (p).parallel_workers_launched end
    from (
        select m, lag(m) over (partition by m.target_id, m.userid, m.dbid, m.queryid, m.toplevel order by m.collected_at) as p
        from metric.statement_stats m
        where m.target_id = of_target and m.collected_at > from_at - lookback and m.collected_at <= until_at
    ) as reading
    cross join lateral (select (reading.m).*) as m
    left join (
        select f.datid, f.collected_at,
            lag(f.collected_at) over (partition by f.datid order by f.collected_at) as since_at,
            max(f.collected_at) filter (where f.mode = 'full') over (
                partition by f.datid order by f.collected_at rows between unbounded preceding and 1 preceding
            ) as full_at
        from store.frame f
        where f.target_id = of_target and f.metric = 'statement_stats'
            and f.batch_at > from_at - lookback and f.batch_at <= until_at + interval '1 hour'
            and f.collected_at > from_at - lookback and f.collected_at <= until_at
    ) as f on f.collected_at = m.collected_at
    cross join lateral (
        select case
            when m.epoch = (p).epoch
                and (p).collected_at >= coalesce(f.full_at, '-infinity')
                and not m.gone
                and not (p).gone
                and m.stats_since_at is not distinct from (p).stats_since_at
            then coalesce(least(m.calls - (p).calls, m.plans - (p).plans, m.rows - (p).rows,
                m.total_exec_time_us - (p).total_exec_time_us, m.total_plan_time_us - (p).total_plan_time_us,
                m.shared_blks_hit - (p).shared_blks_hit, m.shared_blks_read - (p).shared_blks_read,
                m.shared_blks_dirtied - (p).shared_blks_dirtied, m.shared_blks_written - (p).shared_blks_written,
                m.local_blks_hit - (p).local_blks_hit, m.local_blks_read - (p).local_blks_read,
                m.local_blks_dirtied - (p).local_blks_dirtied, m.local_blks_written - (p).local_blks_written,
                m.temp_blks_read - (p).temp_blks_read, m.temp_blks_written - (p).temp_blks_written,
                m.shared_blk_read_time_us - (p).shared_blk_read_time_us,
                m.shared_blk_write_time_us - (p).shared_blk_write_time_us,
                m.local_blk_read_time_us - (p).local_blk_read_time_us,
                m.local_blk_write_time_us - (p).local_blk_write_time_us,
                m.temp_blk_read_time_us - (p).temp_blk_read_time_us,
                m.temp_blk_write_time_us - (p).temp_blk_write_time_us, m.wal_records - (p).wal_records,
                m.wal_fpi - (p).wal_fpi, m.wal_bytes - (p).wal_bytes, m.wal_buffers_full - (p).wal_buffers_full,
                m.jit_functions - (p).jit_functions, m.jit_generation_time_us - (p).jit_generation_time_us,
                m.jit_inlining_count - (p).jit_inlining_count, m.jit_inlining_time_us - (p).jit_inlining_time_us,
                m.jit_optimization_count - (p).jit_optimization_count,
                m.jit_optimization_time_us - (p).jit_optimization_time_us,
                m.jit_emission_count - (p).jit_emission_count, m.jit_emission_time_us - (p).jit_emission_time_us,
                m.jit_deform_count - (p).jit_deform_count, m.jit_deform_time_us - (p).jit_deform_time_us,
                m.parallel_workers_to_launch - (p).parallel_workers_to_launch,
                m.parallel_workers_launched - (p).parallel_workers_launched) < 0, false)
        end as fell  -- null where the row before is of another epoch, or is none
    ) as compared
    where m.collected_at > from_at
      and not m.gone
$$;
create view delta.statement_stats as
    select d.*
    from store.target t
    cross join lateral delta.statement_stats(t.target_id, '-infinity', 'infinity') as d;

-- How far pg_stat_statements can be trusted; while dealloc rises, every total of statement_stats is a lower bound. How many statements it has, the runs of statement_stats tell.
create table metric.statement_info (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    epoch bigint not null,
    dealloc bigint,
    max_statements bigint,
    stats_reset_at timestamp with time zone
) partition by range (collected_at);
create index on metric.statement_info (target_id, collected_at);
create function delta.statement_info(
    of_target bigint, from_at timestamptz, until_at timestamptz, lookback interval default '3 hours'
) returns table (
    target_id bigint, collected_at timestamptz, since_at timestamptz, fell boolean, dealloc bigint,
    max_statements bigint, stats_reset_at timestamp with time zone
) language sql stable as $$
    select
        m.target_id, m.collected_at, f.since_at, coalesce(fell, false),
        case when not fell then m.dealloc - (p).dealloc end, m.max_statements, m.stats_reset_at
    from (
        select m, lag(m) over (partition by m.target_id order by m.collected_at) as p
        from metric.statement_info m
        where m.target_id = of_target and m.collected_at > from_at - lookback and m.collected_at <= until_at
    ) as reading
    cross join lateral (select (reading.m).*) as m
    left join (
        select f.datid, f.collected_at,
            lag(f.collected_at) over (partition by f.datid order by f.collected_at) as since_at,
            max(f.collected_at) filter (where f.mode = 'full') over (
                partition by f.datid order by f.collected_at rows between unbounded preceding and 1 preceding
            ) as full_at
        from store.frame f
        where f.target_id = of_target and f.metric = 'statement_info'
            and f.batch_at > from_at - lookback and f.batch_at <= until_at + interval '1 hour'
            and f.collected_at > from_at - lookback and f.collected_at <= until_at
    ) as f on f.collected_at = m.collected_at
    cross join lateral (
        select case
            when m.epoch = (p).epoch
                and (p).collected_at >= coalesce(f.full_at, '-infinity')
            then coalesce(least(m.dealloc - (p).dealloc) < 0, false)
        end as fell  -- null where the row before is of another epoch, or is none
    ) as compared
    where m.collected_at > from_at
$$;
create view delta.statement_info as
    select d.*
    from store.target t
    cross join lateral delta.statement_info(t.target_id, '-infinity', 'infinity') as d;

-- Texts of statements, each when it is new and once a day, so that every day's data explains itself; literals and comments are taken out.
create table metric.statement_text (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    queryid bigint not null,
    query text
) partition by range (collected_at);
create index on metric.statement_text (target_id, collected_at);
