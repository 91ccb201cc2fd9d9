-- Queries that a standby cancelled since they conflicted with recovery (pg_stat_database_conflicts).
create table metric.database_conflicts (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    epoch bigint not null,
    gone boolean not null,
    datid oid not null,
    confl_tablespace bigint,
    confl_lock bigint,
    confl_snapshot bigint,
    confl_bufferpin bigint,
    confl_deadlock bigint,
    confl_active_logicalslot bigint,
    stats_reset_at timestamp with time zone
) partition by range (collected_at);
create index on metric.database_conflicts (target_id, collected_at);
create function delta.database_conflicts(
    of_target bigint, from_at timestamptz, until_at timestamptz, lookback interval default '3 hours'
) returns table (
    target_id bigint, collected_at timestamptz, since_at timestamptz, fell boolean, datid oid,
    confl_tablespace bigint, confl_lock bigint, confl_snapshot bigint, confl_bufferpin bigint,
    confl_deadlock bigint, confl_active_logicalslot bigint, stats_reset_at timestamp with time zone
) language sql stable as $$
    select
        m.target_id, m.collected_at, f.since_at, coalesce(fell, false), m.datid,
        case when not fell then m.confl_tablespace - (p).confl_tablespace end,
        case when not fell then m.confl_lock - (p).confl_lock end,
        case when not fell then m.confl_snapshot - (p).confl_snapshot end,
        case when not fell then m.confl_bufferpin - (p).confl_bufferpin end,
        case when not fell then m.confl_deadlock - (p).confl_deadlock end,
        case when not fell then m.confl_active_logicalslot - (p).confl_active_logicalslot end,
        m.stats_reset_at
    from (
        select m, lag(m) over (partition by m.target_id, m.datid order by m.collected_at) as p
        from metric.database_conflicts m
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
        where f.target_id = of_target and f.metric = 'database_conflicts'
            and f.batch_at > from_at - lookback and f.batch_at <= until_at + interval '1 hour'
            and f.collected_at > from_at - lookback and f.collected_at <= until_at
    ) as f on f.collected_at = m.collected_at
    cross join lateral (
        select case
            when m.epoch = (p).epoch
                and (p).collected_at >= coalesce(f.full_at, '-infinity')
                and not m.gone
                and not (p).gone
                and m.stats_reset_at is not distinct from (p).stats_reset_at
            then coalesce(least(m.confl_tablespace - (p).confl_tablespace, m.confl_lock - (p).confl_lock,
                m.confl_snapshot - (p).confl_snapshot, m.confl_bufferpin - (p).confl_bufferpin,
                m.confl_deadlock - (p).confl_deadlock, m.confl_active_logicalslot - (p).confl_active_logicalslot) < 0, false)
        end as fell  -- null where the row before is of another epoch, or is none
    ) as compared
    where m.collected_at > from_at
      and not m.gone
$$;
create view delta.database_conflicts as
    select d.*
    from store.target t
    cross join lateral delta.database_conflicts(t.target_id, '-infinity', 'infinity') as d;

-- What the background writer wrote, and what backends had to (pg_stat_bgwriter).
create table metric.bgwriter (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    epoch bigint not null,
    buffers_clean bigint,
    maxwritten_clean bigint,
    buffers_alloc bigint,
    buffers_backend bigint,
    buffers_backend_fsync bigint,
    stats_reset_at timestamp with time zone
) partition by range (collected_at);
create index on metric.bgwriter (target_id, collected_at);
create function delta.bgwriter(
    of_target bigint, from_at timestamptz, until_at timestamptz, lookback interval default '3 hours'
) returns table (
    target_id bigint, collected_at timestamptz, since_at timestamptz, fell boolean, buffers_clean bigint,
    maxwritten_clean bigint, buffers_alloc bigint, buffers_backend bigint, buffers_backend_fsync bigint,
    stats_reset_at timestamp with time zone
) language sql stable as $$
    select
        m.target_id, m.collected_at, f.since_at, coalesce(fell, false),
        case when not fell then m.buffers_clean - (p).buffers_clean end,
        case when not fell then m.maxwritten_clean - (p).maxwritten_clean end,
        case when not fell then m.buffers_alloc - (p).buffers_alloc end,
        case when not fell then m.buffers_backend - (p).buffers_backend end,
        case when not fell then m.buffers_backend_fsync - (p).buffers_backend_fsync end, m.stats_reset_at
    from (
        select m, lag(m) over (partition by m.target_id order by m.collected_at) as p
        from metric.bgwriter m
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
        where f.target_id = of_target and f.metric = 'bgwriter'
            and f.batch_at > from_at - lookback and f.batch_at <= until_at + interval '1 hour'
            and f.collected_at > from_at - lookback and f.collected_at <= until_at
    ) as f on f.collected_at = m.collected_at
    cross join lateral (
        select case
            when m.epoch = (p).epoch
                and (p).collected_at >= coalesce(f.full_at, '-infinity')
                and m.stats_reset_at is not distinct from (p).stats_reset_at
            then coalesce(least(m.buffers_clean - (p).buffers_clean, m.maxwritten_clean - (p).maxwritten_clean,
                m.buffers_alloc - (p).buffers_alloc, m.buffers_backend - (p).buffers_backend,
                m.buffers_backend_fsync - (p).buffers_backend_fsync) < 0, false)
        end as fell  -- null where the row before is of another epoch, or is none
    ) as compared
    where m.collected_at > from_at
$$;
create view delta.bgwriter as
    select d.*
    from store.target t
    cross join lateral delta.bgwriter(t.target_id, '-infinity', 'infinity') as d;

-- Checkpoints and restartpoints (pg_stat_checkpointer; pg_stat_bgwriter until 16).
create table metric.checkpointer (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    epoch bigint not null,
    num_timed bigint,
    num_requested bigint,
    num_done bigint,
    restartpoints_timed bigint,
    restartpoints_req bigint,
    restartpoints_done bigint,
    write_time_us bigint,
    sync_time_us bigint,
    buffers_written bigint,
    slru_written bigint,
    stats_reset_at timestamp with time zone
) partition by range (collected_at);
create index on metric.checkpointer (target_id, collected_at);
create function delta.checkpointer(
    of_target bigint, from_at timestamptz, until_at timestamptz, lookback interval default '3 hours'
) returns table (
    target_id bigint, collected_at timestamptz, since_at timestamptz, fell boolean, num_timed bigint,
    num_requested bigint, num_done bigint, restartpoints_timed bigint, restartpoints_req bigint,
    restartpoints_done bigint, write_time_us bigint, sync_time_us bigint, buffers_written bigint,
    slru_written bigint, stats_reset_at timestamp with time zone
) language sql stable as $$
    select
        m.target_id, m.collected_at, f.since_at, coalesce(fell, false),
        case when not fell then m.num_timed - (p).num_timed end,
        case when not fell then m.num_requested - (p).num_requested end,
        case when not fell then m.num_done - (p).num_done end,
        case when not fell then m.restartpoints_timed - (p).restartpoints_timed end,
        case when not fell then m.restartpoints_req - (p).restartpoints_req end,
        case when not fell then m.restartpoints_done - (p).restartpoints_done end,
        case when not fell then m.write_time_us - (p).write_time_us end,
        case when not fell then m.sync_time_us - (p).sync_time_us end,
        case when not fell then m.buffers_written - (p).buffers_written end,
        case when not fell then m.slru_written - (p).slru_written end, m.stats_reset_at
    from (
        select m, lag(m) over (partition by m.target_id order by m.collected_at) as p
        from metric.checkpointer m
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
        where f.target_id = of_target and f.metric = 'checkpointer'
            and f.batch_at > from_at - lookback and f.batch_at <= until_at + interval '1 hour'
            and f.collected_at > from_at - lookback and f.collected_at <= until_at
    ) as f on f.collected_at = m.collected_at
    cross join lateral (
        select case
            when m.epoch = (p).epoch
                and (p).collected_at >= coalesce(f.full_at, '-infinity')
                and m.stats_reset_at is not distinct from (p).stats_reset_at
            then coalesce(least(m.num_timed - (p).num_timed, m.num_requested - (p).num_requested, m.num_done - (p).num_done,
                m.restartpoints_timed - (p).restartpoints_timed, m.restartpoints_req - (p).restartpoints_req,
                m.restartpoints_done - (p).restartpoints_done, m.write_time_us - (p).write_time_us,
                m.sync_time_us - (p).sync_time_us, m.buffers_written - (p).buffers_written,
                m.slru_written - (p).slru_written) < 0, false)
        end as fell  -- null where the row before is of another epoch, or is none
    ) as compared
    where m.collected_at > from_at
$$;
create view delta.checkpointer as
    select d.*
    from store.target t
    cross join lateral delta.checkpointer(t.target_id, '-infinity', 'infinity') as d;

-- WAL that was generated (pg_stat_wal); from 18 its writes and their times are in io.
create table metric.wal (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    epoch bigint not null,
    wal_records bigint,
    wal_fpi bigint,
    wal_bytes bigint,
    wal_buffers_full bigint,
    wal_write bigint,
    wal_sync bigint,
    wal_write_time_us bigint,
    wal_sync_time_us bigint,
    stats_reset_at timestamp with time zone
) partition by range (collected_at);
create index on metric.wal (target_id, collected_at);
create function delta.wal(
    of_target bigint, from_at timestamptz, until_at timestamptz, lookback interval default '3 hours'
) returns table (
    target_id bigint, collected_at timestamptz, since_at timestamptz, fell boolean, wal_records bigint,
    wal_fpi bigint, wal_bytes bigint, wal_buffers_full bigint, wal_write bigint, wal_sync bigint,
    wal_write_time_us bigint, wal_sync_time_us bigint, stats_reset_at timestamp with time zone
) language sql stable as $$
    select
        m.target_id, m.collected_at, f.since_at, coalesce(fell, false),
        case when not fell then m.wal_records - (p).wal_records end,
        case when not fell then m.wal_fpi - (p).wal_fpi end,
        case when not fell then m.wal_bytes - (p).wal_bytes end,
        case when not fell then m.wal_buffers_full - (p).wal_buffers_full end,
        case when not fell then m.wal_write - (p).wal_write end,
        case when not fell then m.wal_sync - (p).wal_sync end,
        case when not fell then m.wal_write_time_us - (p).wal_write_time_us end,
        case when not fell then m.wal_sync_time_us - (p).wal_sync_time_us end, m.stats_reset_at
    from (
        select m, lag(m) over (partition by m.target_id order by m.collected_at) as p
        from metric.wal m
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
        where f.target_id = of_target and f.metric = 'wal'
            and f.batch_at > from_at - lookback and f.batch_at <= until_at + interval '1 hour'
            and f.collected_at > from_at - lookback and f.collected_at <= until_at
    ) as f on f.collected_at = m.collected_at
    cross join lateral (
        select case
            when m.epoch = (p).epoch
                and (p).collected_at >= coalesce(f.full_at, '-infinity')
                and m.stats_reset_at is not distinct from (p).stats_reset_at
            then coalesce(least(m.wal_records - (p).wal_records, m.wal_fpi - (p).wal_fpi, m.wal_bytes - (p).wal_bytes,
                m.wal_buffers_full - (p).wal_buffers_full, m.wal_write - (p).wal_write, m.wal_sync - (p).wal_sync,
                m.wal_write_time_us - (p).wal_write_time_us, m.wal_sync_time_us - (p).wal_sync_time_us) < 0, false)
        end as fell  -- null where the row before is of another epoch, or is none
    ) as compared
    where m.collected_at > from_at
$$;
create view delta.wal as
    select d.*
    from store.target t
    cross join lateral delta.wal(t.target_id, '-infinity', 'infinity') as d;

-- WAL files that were archived, and attempts that failed (pg_stat_archiver).
create table metric.archiver (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    epoch bigint not null,
    archived_count bigint,
    last_archived_wal text,
    last_archived_at timestamp with time zone,
    failed_count bigint,
    last_failed_wal text,
    last_failed_at timestamp with time zone,
    stats_reset_at timestamp with time zone
) partition by range (collected_at);
create index on metric.archiver (target_id, collected_at);
create function delta.archiver(
    of_target bigint, from_at timestamptz, until_at timestamptz, lookback interval default '3 hours'
) returns table (
    target_id bigint, collected_at timestamptz, since_at timestamptz, fell boolean,
    archived_count bigint, last_archived_wal text, last_archived_at timestamp with time zone,
    failed_count bigint, last_failed_wal text, last_failed_at timestamp with time zone,
    stats_reset_at timestamp with time zone
) language sql stable as $$
    select
        m.target_id, m.collected_at, f.since_at, coalesce(fell, false),
        case when not fell then m.archived_count - (p).archived_count end, m.last_archived_wal,
        m.last_archived_at, case when not fell then m.failed_count - (p).failed_count end, m.last_failed_wal,
        m.last_failed_at, m.stats_reset_at
    from (
        select m, lag(m) over (partition by m.target_id order by m.collected_at) as p
        from metric.archiver m
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
        where f.target_id = of_target and f.metric = 'archiver'
            and f.batch_at > from_at - lookback and f.batch_at <= until_at + interval '1 hour'
            and f.collected_at > from_at - lookback and f.collected_at <= until_at
    ) as f on f.collected_at = m.collected_at
    cross join lateral (
        select case
            when m.epoch = (p).epoch
                and (p).collected_at >= coalesce(f.full_at, '-infinity')
                and m.stats_reset_at is not distinct from (p).stats_reset_at
            then coalesce(least(m.archived_count - (p).archived_count, m.failed_count - (p).failed_count) < 0, false)
        end as fell  -- null where the row before is of another epoch, or is none
    ) as compared
    where m.collected_at > from_at
$$;
create view delta.archiver as
    select d.*
    from store.target t
    cross join lateral delta.archiver(t.target_id, '-infinity', 'infinity') as d;

-- Reads and writes by kind of process, object and context (pg_stat_io, 16 and newer); null is what cannot be.
create table metric.io (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    epoch bigint not null,
    gone boolean not null,
    backend_type text not null,
    object text not null,
    context text not null,
    reads bigint,
    read_bytes bigint,
    read_time_us bigint,
    writes bigint,
    write_bytes bigint,
    write_time_us bigint,
    writebacks bigint,
    writeback_time_us bigint,
    extends bigint,
    extend_bytes bigint,
    extend_time_us bigint,
    hits bigint,
    evictions bigint,
    reuses bigint,
    fsyncs bigint,
    fsync_time_us bigint,
    stats_reset_at timestamp with time zone
) partition by range (collected_at);
create index on metric.io (target_id, collected_at);
create function delta.io(
    of_target bigint, from_at timestamptz, until_at timestamptz, lookback interval default '3 hours'
) returns table (
    target_id bigint, collected_at timestamptz, since_at timestamptz, fell boolean, backend_type text,
    object text, context text, reads bigint, read_bytes bigint, read_time_us bigint, writes bigint,
    write_bytes bigint, write_time_us bigint, writebacks bigint, writeback_time_us bigint,
    extends bigint, extend_bytes bigint, extend_time_us bigint, hits bigint, evictions bigint,
    reuses bigint, fsyncs bigint, fsync_time_us bigint, stats_reset_at timestamp with time zone
) language sql stable as $$
    select
        m.target_id, m.collected_at, f.since_at, coalesce(fell, false), m.backend_type, m.object, m.context,
        case when not fell then m.reads - (p).reads end,
        case when not fell then m.read_bytes - (p).read_bytes end,
        case when not fell then m.read_time_us - (p).read_time_us end,
        case when not fell then m.writes - (p).writes end,
        case when not fell then m.write_bytes - (p).write_bytes end,
        case when not fell then m.write_time_us - (p).write_time_us end,
        case when not fell then m.writebacks - (p).writebacks end,
        case when not fell then m.writeback_time_us - (p).writeback_time_us end,
        case when not fell then m.extends - (p).extends end,
        case when not fell then m.extend_bytes - (p).extend_bytes end,
        case when not fell then m.extend_time_us - (p).extend_time_us end,
        case when not fell then m.hits - (p).hits end,
        case when not fell then m.evictions - (p).evictions end,
        case when not fell then m.reuses - (p).reuses end, case when not fell then m.fsyncs - (p).fsyncs end,
        case when not fell then m.fsync_time_us - (p).fsync_time_us end, m.stats_reset_at
    from (
        select m, lag(m) over (partition by m.target_id, m.backend_type, m.object, m.context order by m.collected_at) as p
        from metric.io m
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
        where f.target_id = of_target and f.metric = 'io'
            and f.batch_at > from_at - lookback and f.batch_at <= until_at + interval '1 hour'
            and f.collected_at > from_at - lookback and f.collected_at <= until_at
    ) as f on f.collected_at = m.collected_at
    cross join lateral (
        select case
            when m.epoch = (p).epoch
                and (p).collected_at >= coalesce(f.full_at, '-infinity')
                and not m.gone
                and not (p).gone
                and m.stats_reset_at is not distinct from (p).stats_reset_at
            then coalesce(least(m.reads - (p).reads, m.read_bytes - (p).read_bytes, m.read_time_us - (p).read_time_us,
                m.writes - (p).writes, m.write_bytes - (p).write_bytes, m.write_time_us - (p).write_time_us,
                m.writebacks - (p).writebacks, m.writeback_time_us - (p).writeback_time_us, m.extends - (p).extends,
                m.extend_bytes - (p).extend_bytes, m.extend_time_us - (p).extend_time_us, m.hits - (p).hits,
                m.evictions - (p).evictions, m.reuses - (p).reuses, m.fsyncs - (p).fsyncs,
                m.fsync_time_us - (p).fsync_time_us) < 0, false)
        end as fell  -- null where the row before is of another epoch, or is none
    ) as compared
    where m.collected_at > from_at
      and not m.gone
$$;
create view delta.io as
    select d.*
    from store.target t
    cross join lateral delta.io(t.target_id, '-infinity', 'infinity') as d;

-- The small caches of transaction status, subtransactions, multixacts and the like (pg_stat_slru).
create table metric.slru (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    epoch bigint not null,
    gone boolean not null,
    name text not null,
    blks_zeroed bigint,
    blks_hit bigint,
    blks_read bigint,
    blks_written bigint,
    blks_exists bigint,
    flushes bigint,
    truncates bigint,
    stats_reset_at timestamp with time zone
) partition by range (collected_at);
create index on metric.slru (target_id, collected_at);
create function delta.slru(
    of_target bigint, from_at timestamptz, until_at timestamptz, lookback interval default '3 hours'
) returns table (
    target_id bigint, collected_at timestamptz, since_at timestamptz, fell boolean, name text,
    blks_zeroed bigint, blks_hit bigint, blks_read bigint, blks_written bigint, blks_exists bigint,
    flushes bigint, truncates bigint, stats_reset_at timestamp with time zone
) language sql stable as $$
    select
        m.target_id, m.collected_at, f.since_at, coalesce(fell, false), m.name,
        case when not fell then m.blks_zeroed - (p).blks_zeroed end,
        case when not fell then m.blks_hit - (p).blks_hit end,
        case when not fell then m.blks_read - (p).blks_read end,
        case when not fell then m.blks_written - (p).blks_written end,
        case when not fell then m.blks_exists - (p).blks_exists end,
        case when not fell then m.flushes - (p).flushes end,
        case when not fell then m.truncates - (p).truncates end, m.stats_reset_at
    from (
        select m, lag(m) over (partition by m.target_id, m.name order by m.collected_at) as p
        from metric.slru m
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
        where f.target_id = of_target and f.metric = 'slru'
            and f.batch_at > from_at - lookback and f.batch_at <= until_at + interval '1 hour'
            and f.collected_at > from_at - lookback and f.collected_at <= until_at
    ) as f on f.collected_at = m.collected_at
    cross join lateral (
        select case
            when m.epoch = (p).epoch
                and (p).collected_at >= coalesce(f.full_at, '-infinity')
                and not m.gone
                and not (p).gone
                and m.stats_reset_at is not distinct from (p).stats_reset_at
            then coalesce(least(m.blks_zeroed - (p).blks_zeroed, m.blks_hit - (p).blks_hit, m.blks_read - (p).blks_read,
                m.blks_written - (p).blks_written, m.blks_exists - (p).blks_exists, m.flushes - (p).flushes,
                m.truncates - (p).truncates) < 0, false)
        end as fell  -- null where the row before is of another epoch, or is none
    ) as compared
    where m.collected_at > from_at
      and not m.gone
$$;
create view delta.slru as
    select d.*
    from store.target t
    cross join lateral delta.slru(t.target_id, '-infinity', 'infinity') as d;

-- Blocks prefetched during recovery (pg_stat_recovery_prefetch, 15 and newer); of a standby, else no row.
create table metric.recovery_prefetch (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    epoch bigint not null,
    prefetch bigint,
    hit bigint,
    skip_init bigint,
    skip_new bigint,
    skip_fpw bigint,
    skip_rep bigint,
    wal_distance_bytes bigint,
    block_distance bigint,
    io_depth bigint,
    stats_reset_at timestamp with time zone
) partition by range (collected_at);
create index on metric.recovery_prefetch (target_id, collected_at);
create function delta.recovery_prefetch(
    of_target bigint, from_at timestamptz, until_at timestamptz, lookback interval default '3 hours'
) returns table (
    target_id bigint, collected_at timestamptz, since_at timestamptz, fell boolean, prefetch bigint,
    hit bigint, skip_init bigint, skip_new bigint, skip_fpw bigint, skip_rep bigint,
    wal_distance_bytes bigint, block_distance bigint, io_depth bigint,
    stats_reset_at timestamp with time zone
) language sql stable as $$
    select
        m.target_id, m.collected_at, f.since_at, coalesce(fell, false),
        case when not fell then m.prefetch - (p).prefetch end, case when not fell then m.hit - (p).hit end,
        case when not fell then m.skip_init - (p).skip_init end,
        case when not fell then m.skip_new - (p).skip_new end,
        case when not fell then m.skip_fpw - (p).skip_fpw end,
        case when not fell then m.skip_rep - (p).skip_rep end, m.wal_distance_bytes, m.block_distance,
        m.io_depth, m.stats_reset_at
    from (
        select m, lag(m) over (partition by m.target_id order by m.collected_at) as p
        from metric.recovery_prefetch m
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
        where f.target_id = of_target and f.metric = 'recovery_prefetch'
            and f.batch_at > from_at - lookback and f.batch_at <= until_at + interval '1 hour'
            and f.collected_at > from_at - lookback and f.collected_at <= until_at
    ) as f on f.collected_at = m.collected_at
    cross join lateral (
        select case
            when m.epoch = (p).epoch
                and (p).collected_at >= coalesce(f.full_at, '-infinity')
                and m.stats_reset_at is not distinct from (p).stats_reset_at
            then coalesce(least(m.prefetch - (p).prefetch, m.hit - (p).hit, m.skip_init - (p).skip_init, m.skip_new - (p).skip_new,
                m.skip_fpw - (p).skip_fpw, m.skip_rep - (p).skip_rep) < 0, false)
        end as fell  -- null where the row before is of another epoch, or is none
    ) as compared
    where m.collected_at > from_at
$$;
create view delta.recovery_prefetch as
    select d.*
    from store.target t
    cross join lateral delta.recovery_prefetch(t.target_id, '-infinity', 'infinity') as d;

-- Settings as a new session of the agent has them (pg_settings). Those for superusers only are missing without pg_read_all_settings, and values that may hold a secret never travel.
create table metric.setting (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    gone boolean not null,
    name text not null,
    value text,
    unit text,
    context text,
    source text,
    sourcefile text,
    is_default boolean,
    is_withheld boolean,
    is_set boolean,
    pending_restart boolean
) partition by range (collected_at);
create index on metric.setting (target_id, collected_at);

-- Extensions of a database (pg_extension), and the version that the host would give them.
create table metric.extension (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    datid oid not null,
    gone boolean not null,
    extname text not null,
    extversion text,
    default_version text,
    schema_name text,
    owner text
) partition by range (collected_at);
create index on metric.extension (target_id, collected_at);

-- Roles, what they may do, and which of the predefined roles for monitoring they have (pg_roles).
create table metric.role (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    gone boolean not null,
    roleid oid not null,
    rolname text,
    is_superuser boolean,
    inherits boolean,
    creates_roles boolean,
    creates_databases boolean,
    can_login boolean,
    can_replicate boolean,
    bypasses_rls boolean,
    connection_limit bigint,
    valid_until_at timestamp with time zone,
    has_pg_monitor boolean,
    has_pg_read_all_stats boolean,
    has_pg_read_all_settings boolean,
    has_pg_stat_scan_tables boolean,
    has_pg_use_reserved_connections boolean
) partition by range (collected_at);
create index on metric.role (target_id, collected_at);
