-- What the agent's process takes of its host, what waits in its spool, and what became of its uploads.
create table metric.agent_health (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    epoch bigint not null,
    started_at timestamp with time zone,
    cpu_us bigint,
    rss_bytes bigint,
    threads bigint,
    open_files bigint,
    spool_batches bigint,
    spool_bytes bigint,
    spool_oldest_us bigint,
    set_aside_batches bigint,
    spooled_bytes bigint,
    dropped_batches bigint,
    dropped_bytes bigint,
    uploads_accepted bigint,
    uploads_duplicate bigint,
    uploads_later bigint,
    uploads_rejected bigint,
    uploads_failed bigint,
    sent_bytes bigint,
    clock_skew_us bigint
) partition by range (collected_at);
create index on metric.agent_health (target_id, collected_at);
create function delta.agent_health(
    of_target bigint, from_at timestamptz, until_at timestamptz, lookback interval default '3 hours'
) returns table (
    target_id bigint, collected_at timestamptz, since_at timestamptz, fell boolean,
    started_at timestamp with time zone, cpu_us bigint, rss_bytes bigint, threads bigint,
    open_files bigint, spool_batches bigint, spool_bytes bigint, spool_oldest_us bigint,
    set_aside_batches bigint, spooled_bytes bigint, dropped_batches bigint, dropped_bytes bigint,
    uploads_accepted bigint, uploads_duplicate bigint, uploads_later bigint, uploads_rejected bigint,
    uploads_failed bigint, sent_bytes bigint, clock_skew_us bigint
) language sql stable as $$
    select
        m.target_id, m.collected_at, f.since_at, coalesce(fell, false), m.started_at,
        case when not fell then m.cpu_us - (p).cpu_us end, m.rss_bytes, m.threads, m.open_files,
        m.spool_batches, m.spool_bytes, m.spool_oldest_us, m.set_aside_batches,
        case when not fell then m.spooled_bytes - (p).spooled_bytes end,
        case when not fell then m.dropped_batches - (p).dropped_batches end,
        case when not fell then m.dropped_bytes - (p).dropped_bytes end,
        case when not fell then m.uploads_accepted - (p).uploads_accepted end,
        case when not fell then m.uploads_duplicate - (p).uploads_duplicate end,
        case when not fell then m.uploads_later - (p).uploads_later end,
        case when not fell then m.uploads_rejected - (p).uploads_rejected end,
        case when not fell then m.uploads_failed - (p).uploads_failed end,
        case when not fell then m.sent_bytes - (p).sent_bytes end, m.clock_skew_us
    from (
        select m, lag(m) over (partition by m.target_id order by m.collected_at) as p
        from metric.agent_health m
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
        where f.target_id = of_target and f.metric = 'agent_health'
            and f.batch_at > from_at - lookback and f.batch_at <= until_at + interval '1 hour'
            and f.collected_at > from_at - lookback and f.collected_at <= until_at
    ) as f on f.collected_at = m.collected_at
    cross join lateral (
        select case
            when m.epoch = (p).epoch
                and (p).collected_at >= coalesce(f.full_at, '-infinity')
            then coalesce(least(m.cpu_us - (p).cpu_us, m.spooled_bytes - (p).spooled_bytes, m.dropped_batches - (p).dropped_batches,
                m.dropped_bytes - (p).dropped_bytes, m.uploads_accepted - (p).uploads_accepted,
                m.uploads_duplicate - (p).uploads_duplicate, m.uploads_later - (p).uploads_later,
                m.uploads_rejected - (p).uploads_rejected, m.uploads_failed - (p).uploads_failed,
                m.sent_bytes - (p).sent_bytes) < 0, false)
        end as fell  -- null where the row before is of another epoch, or is none
    ) as compared
    where m.collected_at > from_at
$$;
create view delta.agent_health as
    select d.*
    from store.target t
    cross join lateral delta.agent_health(t.target_id, '-infinity', 'infinity') as d;

-- What the agent asks of each target, and how its collectors end there; the target `host` has no queries.
create table metric.agent_target (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    epoch bigint not null,
    target text not null,
    connections bigint,
    queries bigint,
    errors bigint,
    query_time_us bigint,
    runs_ok bigint,
    runs_empty bigint,
    runs_permission bigint,
    runs_unsupported bigint,
    runs_timeout bigint,
    runs_locked bigint,
    runs_truncated bigint,
    runs_skipped bigint,
    runs_missed bigint,
    runs_error bigint
) partition by range (collected_at);
create index on metric.agent_target (target_id, collected_at);
create function delta.agent_target(
    of_target bigint, from_at timestamptz, until_at timestamptz, lookback interval default '3 hours'
) returns table (
    target_id bigint, collected_at timestamptz, since_at timestamptz, fell boolean, target text,
    connections bigint, queries bigint, errors bigint, query_time_us bigint, runs_ok bigint,
    runs_empty bigint, runs_permission bigint, runs_unsupported bigint, runs_timeout bigint,
    runs_locked bigint, runs_truncated bigint, runs_skipped bigint, runs_missed bigint,
    runs_error bigint
) language sql stable as $$
    select
        m.target_id, m.collected_at, f.since_at, coalesce(fell, false), m.target,
        case when not fell then m.connections - (p).connections end,
        case when not fell then m.queries - (p).queries end,
        case when not fell then m.errors - (p).errors end,
        case when not fell then m.query_time_us - (p).query_time_us end,
        case when not fell then m.runs_ok - (p).runs_ok end,
        case when not fell then m.runs_empty - (p).runs_empty end,
        case when not fell then m.runs_permission - (p).runs_permission end,
        case when not fell then m.runs_unsupported - (p).runs_unsupported end,
        case when not fell then m.runs_timeout - (p).runs_timeout end,
        case when not fell then m.runs_locked - (p).runs_locked end,
        case when not fell then m.runs_truncated - (p).runs_truncated end,
        case when not fell then m.runs_skipped - (p).runs_skipped end,
        case when not fell then m.runs_missed - (p).runs_missed end,
        case when not fell then m.runs_error - (p).runs_error end
    from (
        select m, lag(m) over (partition by m.target_id, m.target order by m.collected_at) as p
        from metric.agent_target m
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
        where f.target_id = of_target and f.metric = 'agent_target'
            and f.batch_at > from_at - lookback and f.batch_at <= until_at + interval '1 hour'
            and f.collected_at > from_at - lookback and f.collected_at <= until_at
    ) as f on f.collected_at = m.collected_at
    cross join lateral (
        select case
            when m.epoch = (p).epoch
                and (p).collected_at >= coalesce(f.full_at, '-infinity')
            then coalesce(least(m.connections - (p).connections, m.queries - (p).queries, m.errors - (p).errors,
                m.query_time_us - (p).query_time_us, m.runs_ok - (p).runs_ok, m.runs_empty - (p).runs_empty,
                m.runs_permission - (p).runs_permission, m.runs_unsupported - (p).runs_unsupported,
                m.runs_timeout - (p).runs_timeout, m.runs_locked - (p).runs_locked,
                m.runs_truncated - (p).runs_truncated, m.runs_skipped - (p).runs_skipped,
                m.runs_missed - (p).runs_missed, m.runs_error - (p).runs_error) < 0, false)
        end as fell  -- null where the row before is of another epoch, or is none
    ) as compared
    where m.collected_at > from_at
$$;
create view delta.agent_target as
    select d.*
    from store.target t
    cross join lateral delta.agent_target(t.target_id, '-infinity', 'infinity') as d;
