-- Sizes of tables, materialized views and indexes; a partitioned table has none of its own. What is locked exclusively, or about to be, is not waited for: its sizes are null.
create table metric.relation_size (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    datid oid not null,
    gone boolean not null,
    relid oid not null,
    size_bytes bigint,
    main_bytes bigint,
    map_bytes bigint,
    toast_bytes bigint,
    indexes_bytes bigint,
    total_bytes bigint,
    estimated_rows bigint,
    estimated_pages bigint
) partition by range (collected_at);
create index on metric.relation_size (target_id, collected_at);

-- How far sequences have come; the metric relation tells their names and the tables that own them.
create table metric.sequence (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    datid oid not null,
    gone boolean not null,
    relid oid not null,
    data_type text,
    last_value bigint,
    min_value bigint,
    max_value bigint,
    increment bigint,
    cycles boolean,
    column_max_value bigint,
    used_share double precision,
    is_readable boolean
) partition by range (collected_at);
create index on metric.sequence (target_id, collected_at);

-- Space of tables and B-tree indexes that a rewrite would give back, the largest relations; estimated from the planner's statistics, as of the last vacuum or analyze, against the pages that the rows would need.
create table metric.bloat (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    datid oid not null,
    gone boolean not null,
    relid oid not null,
    real_bytes bigint,
    needed_bytes bigint,
    bloat_bytes bigint,
    is_estimate_na boolean,
    is_readable boolean
) partition by range (collected_at);
create index on metric.bloat (target_id, collected_at);

-- Names of the functions that function_stats tells of.
create table metric.function (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    datid oid not null,
    gone boolean not null,
    funcid oid not null,
    schema_name text,
    function_name text,
    arguments text,
    kind text,
    language text,
    owner text
) partition by range (collected_at);
create index on metric.function (target_id, collected_at);

-- Executions of functions (pg_stat_get_function_* functions); there are none unless track_functions is on.
create table metric.function_stats (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    datid oid not null,
    epoch bigint not null,
    gone boolean not null,
    funcid oid not null,
    calls bigint,
    total_time_us bigint,
    self_time_us bigint
) partition by range (collected_at);
create index on metric.function_stats (target_id, collected_at);
create function delta.function_stats(
    of_target bigint, from_at timestamptz, until_at timestamptz, lookback interval default '3 hours'
) returns table (
    target_id bigint, collected_at timestamptz, since_at timestamptz, fell boolean, datid oid,
    funcid oid, calls bigint, total_time_us bigint, self_time_us bigint
) language sql stable as $$
    select
        m.target_id, m.collected_at, f.since_at, coalesce(fell, false), m.datid, m.funcid,
        case when not fell then m.calls - (p).calls end,
        case when not fell then m.total_time_us - (p).total_time_us end,
        case when not fell then m.self_time_us - (p).self_time_us end
    from (
        select m, lag(m) over (partition by m.target_id, m.datid, m.funcid order by m.collected_at) as p
        from metric.function_stats m
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
        where f.target_id = of_target and f.metric = 'function_stats'
            and f.batch_at > from_at - lookback and f.batch_at <= until_at + interval '1 hour'
            and f.collected_at > from_at - lookback and f.collected_at <= until_at
    ) as f on f.collected_at = m.collected_at and f.datid = m.datid
    cross join lateral (
        select case
            when m.epoch = (p).epoch
                and (p).collected_at >= coalesce(f.full_at, '-infinity')
                and not m.gone
                and not (p).gone
            then coalesce(least(m.calls - (p).calls, m.total_time_us - (p).total_time_us, m.self_time_us - (p).self_time_us) < 0, false)
        end as fell  -- null where the row before is of another epoch, or is none
    ) as compared
    where m.collected_at > from_at
      and not m.gone
$$;
create view delta.function_stats as
    select d.*
    from store.target t
    cross join lateral delta.function_stats(t.target_id, '-infinity', 'infinity') as d;
