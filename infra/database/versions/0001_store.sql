-- The store: what was loaded (store), the metrics (metric), their partitions (partition), their deltas (delta).

create schema store;
create schema metric;
create schema partition;
create schema delta;

-- Who has sent anything, and what its last batch said of it.
create table store.agent (
    agent_id text primary key,
    first_seen_at timestamptz not null,
    last_seen_at timestamptz not null,
    agent_version text not null,
    config_version bigint not null,
    config_etag text,
    config_state text not null,
    config_reason text,
    clock_skew_us bigint
);

-- target_id is computed from the two names, so that loading again anywhere gives the same number.
create table store.target (
    target_id bigint primary key,
    agent_id text not null references store.agent,
    name text not null,
    first_seen_at timestamptz not null,
    last_seen_at timestamptz not null,
    unique (agent_id, name)
);

-- Loaded exactly once: a batch's place in its stream is claimed here, in the transaction that loads it.
create table store.ledger (
    agent_id text not null,
    stream_id uuid not null,
    seq bigint not null,
    sha256 bytea not null,
    sent_at timestamptz not null,
    loaded_at timestamptz not null default now(),
    rows bigint not null,
    object_key text not null,
    primary key (agent_id, stream_id, seq)
);

-- Objects that cannot be loaded through their own fault. They stay in the bucket.
create table store.quarantine (
    object_key text primary key,
    agent_id text,
    reason text not null,
    quarantined_at timestamptz not null default now()
);

-- Runs stand as arrays, one row a batch and target: a row a run would outweigh the metrics.
create table store.runs (
    target_id bigint not null,
    collected_at timestamptz not null,
    collector text[] not null,
    datid oid[] not null,
    started_at timestamptz[] not null,
    duration_us bigint[] not null,
    status text[] not null,
    sqlstate text[] not null,
    rows bigint[] not null,
    rows_available bigint[] not null,
    detail text[] not null
) partition by range (collected_at);
create index on store.runs (target_id, collected_at);

create view store.run as
    select r.target_id, r.collected_at as sent_at, u.*
    from store.runs r
    cross join lateral unnest(
        r.collector, r.datid, r.started_at, r.duration_us, r.status, r.sqlstate, r.rows, r.rows_available, r.detail
    ) as u (collector, datid, started_at, duration_us, status, sqlstate, rows, rows_available, detail);

-- When each metric was read, even where nothing had changed and so no row stands.
create table store.frames (
    target_id bigint not null,
    collected_at timestamptz not null,
    metric text[] not null,
    datid oid[] not null,
    frame_at timestamptz[] not null,
    mode text[] not null,
    epoch bigint[] not null,
    rows bigint[] not null
) partition by range (collected_at);
create index on store.frames (target_id, collected_at);

-- A batch is closed at most an hour after its first reading: batch_at finds the partitions of a stretch of time.
create view store.frame as
    select f.target_id, f.collected_at as batch_at, u.*
    from store.frames f
    cross join lateral unnest(f.metric, f.datid, f.frame_at, f.mode, f.epoch, f.rows)
        as u (metric, datid, collected_at, mode, epoch, rows);

-- Data that will never arrive, and why.
create table store.gaps (
    agent_id text not null,
    target_id bigint,
    collected_at timestamptz not null,
    collector text,
    reason text not null,
    from_at timestamptz not null,
    until_at timestamptz not null,
    batches bigint not null,
    detail text
) partition by range (collected_at);
create index on store.gaps (agent_id, collected_at);

-- Configuration documents: immutable, numbered within their scope.
create table store.document (
    scope text not null,
    version bigint not null check (version > 0),
    body jsonb not null,
    sha256 bytea not null,
    author text not null,
    comment text not null,
    created_at timestamptz not null default now(),
    primary key (scope, version)
);

-- Makes what is missing of the partitions of one day, and answers how many it made. A partition is made apart and
-- then attached: that takes no lock that loading or reading would wait for.
create function store.make_partitions(for_day date) returns integer
language plpgsql as $$
declare
    parent record;
    part text;
    made integer := 0;
begin
    perform pg_advisory_xact_lock(hashtext('store.make_partitions'));
    for parent in
        select n.nspname, c.relname
        from pg_class c
        join pg_namespace n on n.oid = c.relnamespace
        where c.relkind = 'p' and n.nspname in ('store', 'metric')
        order by n.nspname, c.relname
    loop
        part := parent.nspname || '_' || parent.relname || '_' || to_char(for_day, 'YYYYMMDD');
        if to_regclass(format('partition.%I', part)) is null then
            execute format('create table partition.%I (like %I.%I including all)', part, parent.nspname, parent.relname);
            execute format(
                'alter table %I.%I attach partition partition.%I for values from (%L) to (%L)',
                parent.nspname, parent.relname, part,
                for_day::timestamp at time zone 'UTC', (for_day + 1)::timestamp at time zone 'UTC'
            );
            made := made + 1;
        end if;
    end loop;
    return made;
end
$$;

-- Drops the partitions of days before the given one, and answers how many it dropped.
create function store.drop_partitions(before_day date) returns integer
language plpgsql as $$
declare
    part text;
    dropped integer := 0;
begin
    for part in
        select c.relname
        from pg_class c
        join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = 'partition' and c.relkind = 'r' and right(c.relname, 8) < to_char(before_day, 'YYYYMMDD')
    loop
        execute format('drop table partition.%I', part);
        dropped := dropped + 1;
    end loop;
    return dropped;
end
$$;

-- What the host is: its name, system and size.
create table metric.host (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    hostname text,
    machine text,
    kernel text,
    os text,
    cpus bigint,
    memory_bytes bigint,
    booted_at timestamp with time zone
) partition by range (collected_at);
create index on metric.host (target_id, collected_at);

-- Time that all processors together spent in each state since the host was booted (/proc/stat).
create table metric.host_cpu (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    epoch bigint not null,
    user_us bigint,
    nice_us bigint,
    system_us bigint,
    idle_us bigint,
    iowait_us bigint,
    irq_us bigint,
    softirq_us bigint,
    steal_us bigint,
    context_switches bigint,
    interrupts bigint
) partition by range (collected_at);
create index on metric.host_cpu (target_id, collected_at);
create function delta.host_cpu(
    of_target bigint, from_at timestamptz, until_at timestamptz, lookback interval default '3 hours'
) returns table (
    target_id bigint, collected_at timestamptz, since_at timestamptz, fell boolean, user_us bigint,
    nice_us bigint, system_us bigint, idle_us bigint, iowait_us bigint, irq_us bigint, softirq_us bigint,
    steal_us bigint, context_switches bigint, interrupts bigint
) language sql stable as $$
    select
        m.target_id, m.collected_at, f.since_at, coalesce(fell, false),
        case when not fell then m.user_us - (p).user_us end,
        case when not fell then m.nice_us - (p).nice_us end,
        case when not fell then m.system_us - (p).system_us end,
        case when not fell then m.idle_us - (p).idle_us end,
        case when not fell then m.iowait_us - (p).iowait_us end,
        case when not fell then m.irq_us - (p).irq_us end,
        case when not fell then m.softirq_us - (p).softirq_us end,
        case when not fell then m.steal_us - (p).steal_us end,
        case when not fell then m.context_switches - (p).context_switches end,
        case when not fell then m.interrupts - (p).interrupts end
    from (
        select m, lag(m) over (partition by m.target_id order by m.collected_at) as p
        from metric.host_cpu m
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
        where f.target_id = of_target and f.metric = 'host_cpu'
            and f.batch_at > from_at - lookback and f.batch_at <= until_at + interval '1 hour'
            and f.collected_at > from_at - lookback and f.collected_at <= until_at
    ) as f on f.collected_at = m.collected_at
    cross join lateral (
        select case
            when m.epoch = (p).epoch
                and (p).collected_at >= coalesce(f.full_at, '-infinity')
            then coalesce(least(m.user_us - (p).user_us, m.nice_us - (p).nice_us, m.system_us - (p).system_us,
                m.idle_us - (p).idle_us, m.iowait_us - (p).iowait_us, m.irq_us - (p).irq_us,
                m.softirq_us - (p).softirq_us, m.steal_us - (p).steal_us, m.context_switches - (p).context_switches,
                m.interrupts - (p).interrupts) < 0, false)
        end as fell  -- null where the row before is of another epoch, or is none
    ) as compared
    where m.collected_at > from_at
$$;
create view delta.host_cpu as
    select d.*
    from store.target t
    cross join lateral delta.host_cpu(t.target_id, '-infinity', 'infinity') as d;

-- Memory and swap as they stand (/proc/meminfo), and what was swapped (/proc/vmstat).
create table metric.host_memory (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    epoch bigint not null,
    total_bytes bigint,
    available_bytes bigint,
    free_bytes bigint,
    buffers_bytes bigint,
    cached_bytes bigint,
    shared_bytes bigint,
    dirty_bytes bigint,
    swap_total_bytes bigint,
    swap_used_bytes bigint,
    swapped_in_bytes bigint,
    swapped_out_bytes bigint
) partition by range (collected_at);
create index on metric.host_memory (target_id, collected_at);
create function delta.host_memory(
    of_target bigint, from_at timestamptz, until_at timestamptz, lookback interval default '3 hours'
) returns table (
    target_id bigint, collected_at timestamptz, since_at timestamptz, fell boolean, total_bytes bigint,
    available_bytes bigint, free_bytes bigint, buffers_bytes bigint, cached_bytes bigint,
    shared_bytes bigint, dirty_bytes bigint, swap_total_bytes bigint, swap_used_bytes bigint,
    swapped_in_bytes bigint, swapped_out_bytes bigint
) language sql stable as $$
    select
        m.target_id, m.collected_at, f.since_at, coalesce(fell, false), m.total_bytes, m.available_bytes,
        m.free_bytes, m.buffers_bytes, m.cached_bytes, m.shared_bytes, m.dirty_bytes, m.swap_total_bytes,
        m.swap_used_bytes, case when not fell then m.swapped_in_bytes - (p).swapped_in_bytes end,
        case when not fell then m.swapped_out_bytes - (p).swapped_out_bytes end
    from (
        select m, lag(m) over (partition by m.target_id order by m.collected_at) as p
        from metric.host_memory m
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
        where f.target_id = of_target and f.metric = 'host_memory'
            and f.batch_at > from_at - lookback and f.batch_at <= until_at + interval '1 hour'
            and f.collected_at > from_at - lookback and f.collected_at <= until_at
    ) as f on f.collected_at = m.collected_at
    cross join lateral (
        select case
            when m.epoch = (p).epoch
                and (p).collected_at >= coalesce(f.full_at, '-infinity')
            then coalesce(least(m.swapped_in_bytes - (p).swapped_in_bytes, m.swapped_out_bytes - (p).swapped_out_bytes) < 0, false)
        end as fell  -- null where the row before is of another epoch, or is none
    ) as compared
    where m.collected_at > from_at
$$;
create view delta.host_memory as
    select d.*
    from store.target t
    cross join lateral delta.host_memory(t.target_id, '-infinity', 'infinity') as d;

-- Load averages and processes (/proc/loadavg).
create table metric.host_load (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    load_1m double precision,
    load_5m double precision,
    load_15m double precision,
    runnable bigint,
    threads bigint
) partition by range (collected_at);
create index on metric.host_load (target_id, collected_at);

-- Block devices and their partitions since boot (/proc/diskstats); loop and RAM devices left out.
create table metric.host_disk (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    epoch bigint not null,
    device text not null,
    reads bigint,
    writes bigint,
    read_bytes bigint,
    written_bytes bigint,
    read_us bigint,
    write_us bigint,
    busy_us bigint
) partition by range (collected_at);
create index on metric.host_disk (target_id, collected_at);
create function delta.host_disk(
    of_target bigint, from_at timestamptz, until_at timestamptz, lookback interval default '3 hours'
) returns table (
    target_id bigint, collected_at timestamptz, since_at timestamptz, fell boolean, device text,
    reads bigint, writes bigint, read_bytes bigint, written_bytes bigint, read_us bigint,
    write_us bigint, busy_us bigint
) language sql stable as $$
    select
        m.target_id, m.collected_at, f.since_at, coalesce(fell, false), m.device,
        case when not fell then m.reads - (p).reads end, case when not fell then m.writes - (p).writes end,
        case when not fell then m.read_bytes - (p).read_bytes end,
        case when not fell then m.written_bytes - (p).written_bytes end,
        case when not fell then m.read_us - (p).read_us end,
        case when not fell then m.write_us - (p).write_us end,
        case when not fell then m.busy_us - (p).busy_us end
    from (
        select m, lag(m) over (partition by m.target_id, m.device order by m.collected_at) as p
        from metric.host_disk m
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
        where f.target_id = of_target and f.metric = 'host_disk'
            and f.batch_at > from_at - lookback and f.batch_at <= until_at + interval '1 hour'
            and f.collected_at > from_at - lookback and f.collected_at <= until_at
    ) as f on f.collected_at = m.collected_at
    cross join lateral (
        select case
            when m.epoch = (p).epoch
                and (p).collected_at >= coalesce(f.full_at, '-infinity')
            then coalesce(least(m.reads - (p).reads, m.writes - (p).writes, m.read_bytes - (p).read_bytes,
                m.written_bytes - (p).written_bytes, m.read_us - (p).read_us, m.write_us - (p).write_us,
                m.busy_us - (p).busy_us) < 0, false)
        end as fell  -- null where the row before is of another epoch, or is none
    ) as compared
    where m.collected_at > from_at
$$;
create view delta.host_disk as
    select d.*
    from store.target t
    cross join lateral delta.host_disk(t.target_id, '-infinity', 'infinity') as d;

-- Network interfaces since they came up; the loopback interface left out.
create table metric.host_network (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    epoch bigint not null,
    interface text not null,
    received_bytes bigint,
    sent_bytes bigint,
    received_packets bigint,
    sent_packets bigint,
    receive_errors bigint,
    send_errors bigint,
    receive_drops bigint,
    send_drops bigint
) partition by range (collected_at);
create index on metric.host_network (target_id, collected_at);
create function delta.host_network(
    of_target bigint, from_at timestamptz, until_at timestamptz, lookback interval default '3 hours'
) returns table (
    target_id bigint, collected_at timestamptz, since_at timestamptz, fell boolean, interface text,
    received_bytes bigint, sent_bytes bigint, received_packets bigint, sent_packets bigint,
    receive_errors bigint, send_errors bigint, receive_drops bigint, send_drops bigint
) language sql stable as $$
    select
        m.target_id, m.collected_at, f.since_at, coalesce(fell, false), m.interface,
        case when not fell then m.received_bytes - (p).received_bytes end,
        case when not fell then m.sent_bytes - (p).sent_bytes end,
        case when not fell then m.received_packets - (p).received_packets end,
        case when not fell then m.sent_packets - (p).sent_packets end,
        case when not fell then m.receive_errors - (p).receive_errors end,
        case when not fell then m.send_errors - (p).send_errors end,
        case when not fell then m.receive_drops - (p).receive_drops end,
        case when not fell then m.send_drops - (p).send_drops end
    from (
        select m, lag(m) over (partition by m.target_id, m.interface order by m.collected_at) as p
        from metric.host_network m
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
        where f.target_id = of_target and f.metric = 'host_network'
            and f.batch_at > from_at - lookback and f.batch_at <= until_at + interval '1 hour'
            and f.collected_at > from_at - lookback and f.collected_at <= until_at
    ) as f on f.collected_at = m.collected_at
    cross join lateral (
        select case
            when m.epoch = (p).epoch
                and (p).collected_at >= coalesce(f.full_at, '-infinity')
            then coalesce(least(m.received_bytes - (p).received_bytes, m.sent_bytes - (p).sent_bytes,
                m.received_packets - (p).received_packets, m.sent_packets - (p).sent_packets,
                m.receive_errors - (p).receive_errors, m.send_errors - (p).send_errors,
                m.receive_drops - (p).receive_drops, m.send_drops - (p).send_drops) < 0, false)
        end as fell  -- null where the row before is of another epoch, or is none
    ) as compared
    where m.collected_at > from_at
$$;
create view delta.host_network as
    select d.*
    from store.target t
    cross join lateral delta.host_network(t.target_id, '-infinity', 'infinity') as d;

-- Space and inodes of local file systems (statvfs); remote and virtual ones left out.
create table metric.host_filesystem (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    mountpoint text not null,
    device text,
    fstype text,
    read_only boolean,
    total_bytes bigint,
    used_bytes bigint,
    available_bytes bigint,
    total_inodes bigint,
    used_inodes bigint
) partition by range (collected_at);
create index on metric.host_filesystem (target_id, collected_at);

-- What the server is: its version, identity and role.
create table metric.cluster (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    system_identifier text,
    server_version_num bigint,
    server_version text,
    cluster_name text,
    port bigint,
    data_directory text,
    timeline bigint,
    in_recovery boolean,
    started_at timestamp with time zone
) partition by range (collected_at);
create index on metric.cluster (target_id, collected_at);

-- Names and properties of databases (pg_database).
create table metric.database (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    gone boolean not null,
    datid oid not null,
    datname text,
    owner text,
    encoding text,
    is_template boolean,
    allows_connections boolean,
    connection_limit bigint
) partition by range (collected_at);
create index on metric.database (target_id, collected_at);

-- Activity of each database since its statistics were reset (pg_stat_database); oid 0 is shared objects.
create table metric.database_stats (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    epoch bigint not null,
    gone boolean not null,
    datid oid not null,
    numbackends bigint,
    xact_commit bigint,
    xact_rollback bigint,
    blks_read bigint,
    blks_hit bigint,
    tup_returned bigint,
    tup_fetched bigint,
    tup_inserted bigint,
    tup_updated bigint,
    tup_deleted bigint,
    conflicts bigint,
    temp_files bigint,
    temp_bytes bigint,
    deadlocks bigint,
    checksum_failures bigint,
    checksum_last_failure_at timestamp with time zone,
    blk_read_time_us bigint,
    blk_write_time_us bigint,
    session_time_us bigint,
    active_time_us bigint,
    idle_in_transaction_time_us bigint,
    sessions bigint,
    sessions_abandoned bigint,
    sessions_fatal bigint,
    sessions_killed bigint,
    parallel_workers_to_launch bigint,
    parallel_workers_launched bigint,
    stats_reset_at timestamp with time zone
) partition by range (collected_at);
create index on metric.database_stats (target_id, collected_at);
create function delta.database_stats(
    of_target bigint, from_at timestamptz, until_at timestamptz, lookback interval default '3 hours'
) returns table (
    target_id bigint, collected_at timestamptz, since_at timestamptz, fell boolean, datid oid,
    numbackends bigint, xact_commit bigint, xact_rollback bigint, blks_read bigint, blks_hit bigint,
    tup_returned bigint, tup_fetched bigint, tup_inserted bigint, tup_updated bigint, tup_deleted bigint,
    conflicts bigint, temp_files bigint, temp_bytes bigint, deadlocks bigint, checksum_failures bigint,
    checksum_last_failure_at timestamp with time zone, blk_read_time_us bigint, blk_write_time_us bigint,
    session_time_us bigint, active_time_us bigint, idle_in_transaction_time_us bigint, sessions bigint,
    sessions_abandoned bigint, sessions_fatal bigint, sessions_killed bigint,
    parallel_workers_to_launch bigint, parallel_workers_launched bigint,
    stats_reset_at timestamp with time zone
) language sql stable as $$
    select
        m.target_id, m.collected_at, f.since_at, coalesce(fell, false), m.datid, m.numbackends,
        case when not fell then m.xact_commit - (p).xact_commit end,
        case when not fell then m.xact_rollback - (p).xact_rollback end,
        case when not fell then m.blks_read - (p).blks_read end,
        case when not fell then m.blks_hit - (p).blks_hit end,
        case when not fell then m.tup_returned - (p).tup_returned end,
        case when not fell then m.tup_fetched - (p).tup_fetched end,
        case when not fell then m.tup_inserted - (p).tup_inserted end,
        case when not fell then m.tup_updated - (p).tup_updated end,
        case when not fell then m.tup_deleted - (p).tup_deleted end,
        case when not fell then m.conflicts - (p).conflicts end,
        case when not fell then m.temp_files - (p).temp_files end,
        case when not fell then m.temp_bytes - (p).temp_bytes end,
        case when not fell then m.deadlocks - (p).deadlocks end,
        case when not fell then m.checksum_failures - (p).checksum_failures end, m.checksum_last_failure_at,
        case when not fell then m.blk_read_time_us - (p).blk_read_time_us end,
        case when not fell then m.blk_write_time_us - (p).blk_write_time_us end,
        case when not fell then m.session_time_us - (p).session_time_us end,
        case when not fell then m.active_time_us - (p).active_time_us end,
        case when not fell then m.idle_in_transaction_time_us - (p).idle_in_transaction_time_us end,
        case when not fell then m.sessions - (p).sessions end,
        case when not fell then m.sessions_abandoned - (p).sessions_abandoned end,
        case when not fell then m.sessions_fatal - (p).sessions_fatal end,
        case when not fell then m.sessions_killed - (p).sessions_killed end,
        case when not fell then m.parallel_workers_to_launch - (p).parallel_workers_to_launch end,
        case when not fell then m.parallel_workers_launched - (p).parallel_workers_launched end,
        m.stats_reset_at
    from (
        select m, lag(m) over (partition by m.target_id, m.datid order by m.collected_at) as p
        from metric.database_stats m
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
        where f.target_id = of_target and f.metric = 'database_stats'
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
            then coalesce(least(m.xact_commit - (p).xact_commit, m.xact_rollback - (p).xact_rollback, m.blks_read - (p).blks_read,
                m.blks_hit - (p).blks_hit, m.tup_returned - (p).tup_returned, m.tup_fetched - (p).tup_fetched,
                m.tup_inserted - (p).tup_inserted, m.tup_updated - (p).tup_updated, m.tup_deleted - (p).tup_deleted,
                m.conflicts - (p).conflicts, m.temp_files - (p).temp_files, m.temp_bytes - (p).temp_bytes,
                m.deadlocks - (p).deadlocks, m.checksum_failures - (p).checksum_failures,
                m.blk_read_time_us - (p).blk_read_time_us, m.blk_write_time_us - (p).blk_write_time_us,
                m.session_time_us - (p).session_time_us, m.active_time_us - (p).active_time_us,
                m.idle_in_transaction_time_us - (p).idle_in_transaction_time_us, m.sessions - (p).sessions,
                m.sessions_abandoned - (p).sessions_abandoned, m.sessions_fatal - (p).sessions_fatal,
                m.sessions_killed - (p).sessions_killed,
                m.parallel_workers_to_launch - (p).parallel_workers_to_launch,
                m.parallel_workers_launched - (p).parallel_workers_launched) < 0, false)
        end as fell  -- null where the row before is of another epoch, or is none
    ) as compared
    where m.collected_at > from_at
      and not m.gone
$$;
create view delta.database_stats as
    select d.*
    from store.target t
    cross join lateral delta.database_stats(t.target_id, '-infinity', 'infinity') as d;

-- Names, kinds and parents of tables, indexes and materialized views (pg_class); system schemas left out.
create table metric.relation (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    datid oid not null,
    gone boolean not null,
    relid oid not null,
    schema_name text,
    relation_name text,
    kind text,
    persistence text,
    owner text,
    table_relid oid,
    parent_relid oid,
    options text,
    is_unique boolean,
    is_primary boolean,
    is_valid boolean,
    access_method text,
    tablespace text
) partition by range (collected_at);
create index on metric.relation (target_id, collected_at);

-- Activity of tables and materialized views (pg_stat_get_* functions); what their indexes did is index_stats.
create table metric.table_stats (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    datid oid not null,
    epoch bigint not null,
    gone boolean not null,
    relid oid not null,
    seq_scan bigint,
    last_seq_scan_at timestamp with time zone,
    seq_tup_read bigint,
    bitmap_tup_fetch bigint,
    n_tup_ins bigint,
    n_tup_upd bigint,
    n_tup_del bigint,
    n_tup_hot_upd bigint,
    n_tup_newpage_upd bigint,
    n_live_tup bigint,
    n_dead_tup bigint,
    n_mod_since_analyze bigint,
    n_ins_since_vacuum bigint,
    last_vacuum_at timestamp with time zone,
    last_autovacuum_at timestamp with time zone,
    last_analyze_at timestamp with time zone,
    last_autoanalyze_at timestamp with time zone,
    vacuum_count bigint,
    autovacuum_count bigint,
    analyze_count bigint,
    autoanalyze_count bigint,
    total_vacuum_time_us bigint,
    total_autovacuum_time_us bigint,
    total_analyze_time_us bigint,
    total_autoanalyze_time_us bigint,
    heap_blks_read bigint,
    heap_blks_hit bigint,
    toast_blks_read bigint,
    toast_blks_hit bigint
) partition by range (collected_at);
create index on metric.table_stats (target_id, collected_at);
create function delta.table_stats(
    of_target bigint, from_at timestamptz, until_at timestamptz, lookback interval default '3 hours'
) returns table (
    target_id bigint, collected_at timestamptz, since_at timestamptz, fell boolean, datid oid, relid oid,
    seq_scan bigint, last_seq_scan_at timestamp with time zone, seq_tup_read bigint,
    bitmap_tup_fetch bigint, n_tup_ins bigint, n_tup_upd bigint, n_tup_del bigint, n_tup_hot_upd bigint,
    n_tup_newpage_upd bigint, n_live_tup bigint, n_dead_tup bigint, n_mod_since_analyze bigint,
    n_ins_since_vacuum bigint, last_vacuum_at timestamp with time zone,
    last_autovacuum_at timestamp with time zone, last_analyze_at timestamp with time zone,
    last_autoanalyze_at timestamp with time zone, vacuum_count bigint, autovacuum_count bigint,
    analyze_count bigint, autoanalyze_count bigint, total_vacuum_time_us bigint,
    total_autovacuum_time_us bigint, total_analyze_time_us bigint, total_autoanalyze_time_us bigint,
    heap_blks_read bigint, heap_blks_hit bigint, toast_blks_read bigint, toast_blks_hit bigint
) language sql stable as $$
    select
        m.target_id, m.collected_at, f.since_at, coalesce(fell, false), m.datid, m.relid,
        case when not fell then m.seq_scan - (p).seq_scan end, m.last_seq_scan_at,
        case when not fell then m.seq_tup_read - (p).seq_tup_read end,
        case when not fell then m.bitmap_tup_fetch - (p).bitmap_tup_fetch end,
        case when not fell then m.n_tup_ins - (p).n_tup_ins end,
        case when not fell then m.n_tup_upd - (p).n_tup_upd end,
        case when not fell then m.n_tup_del - (p).n_tup_del end,
        case when not fell then m.n_tup_hot_upd - (p).n_tup_hot_upd end,
        case when not fell then m.n_tup_newpage_upd - (p).n_tup_newpage_upd end, m.n_live_tup, m.n_dead_tup,
        m.n_mod_since_analyze, m.n_ins_since_vacuum, m.last_vacuum_at, m.last_autovacuum_at,
        m.last_analyze_at, m.last_autoanalyze_at,
        case when not fell then m.vacuum_count - (p).vacuum_count end,
        case when not fell then m.autovacuum_count - (p).autovacuum_count end,
        case when not fell then m.analyze_count - (p).analyze_count end,
        case when not fell then m.autoanalyze_count - (p).autoanalyze_count end,
        case when not fell then m.total_vacuum_time_us - (p).total_vacuum_time_us end,
        case when not fell then m.total_autovacuum_time_us - (p).total_autovacuum_time_us end,
        case when not fell then m.total_analyze_time_us - (p).total_analyze_time_us end,
        case when not fell then m.total_autoanalyze_time_us - (p).total_autoanalyze_time_us end,
        case when not fell then m.heap_blks_read - (p).heap_blks_read end,
        case when not fell then m.heap_blks_hit - (p).heap_blks_hit end,
        case when not fell then m.toast_blks_read - (p).toast_blks_read end,
        case when not fell then m.toast_blks_hit - (p).toast_blks_hit end
    from (
        select m, lag(m) over (partition by m.target_id, m.datid, m.relid order by m.collected_at) as p
        from metric.table_stats m
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
        where f.target_id = of_target and f.metric = 'table_stats'
            and f.batch_at > from_at - lookback and f.batch_at <= until_at + interval '1 hour'
            and f.collected_at > from_at - lookback and f.collected_at <= until_at
    ) as f on f.collected_at = m.collected_at and f.datid = m.datid
    cross join lateral (
        select case
            when m.epoch = (p).epoch
                and (p).collected_at >= coalesce(f.full_at, '-infinity')
                and not m.gone
                and not (p).gone
            then coalesce(least(m.seq_scan - (p).seq_scan, m.seq_tup_read - (p).seq_tup_read,
                m.bitmap_tup_fetch - (p).bitmap_tup_fetch, m.n_tup_ins - (p).n_tup_ins, m.n_tup_upd - (p).n_tup_upd,
                m.n_tup_del - (p).n_tup_del, m.n_tup_hot_upd - (p).n_tup_hot_upd,
                m.n_tup_newpage_upd - (p).n_tup_newpage_upd, m.vacuum_count - (p).vacuum_count,
                m.autovacuum_count - (p).autovacuum_count, m.analyze_count - (p).analyze_count,
                m.autoanalyze_count - (p).autoanalyze_count, m.total_vacuum_time_us - (p).total_vacuum_time_us,
                m.total_autovacuum_time_us - (p).total_autovacuum_time_us,
                m.total_analyze_time_us - (p).total_analyze_time_us,
                m.total_autoanalyze_time_us - (p).total_autoanalyze_time_us, m.heap_blks_read - (p).heap_blks_read,
                m.heap_blks_hit - (p).heap_blks_hit, m.toast_blks_read - (p).toast_blks_read,
                m.toast_blks_hit - (p).toast_blks_hit) < 0, false)
        end as fell  -- null where the row before is of another epoch, or is none
    ) as compared
    where m.collected_at > from_at
      and not m.gone
$$;
create view delta.table_stats as
    select d.*
    from store.target t
    cross join lateral delta.table_stats(t.target_id, '-infinity', 'infinity') as d;

-- Activity of indexes (pg_stat_get_* functions); the metric relation tells their tables.
create table metric.index_stats (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    datid oid not null,
    epoch bigint not null,
    gone boolean not null,
    indexrelid oid not null,
    idx_scan bigint,
    last_idx_scan_at timestamp with time zone,
    idx_tup_read bigint,
    idx_tup_fetch bigint,
    idx_blks_read bigint,
    idx_blks_hit bigint
) partition by range (collected_at);
create index on metric.index_stats (target_id, collected_at);
create function delta.index_stats(
    of_target bigint, from_at timestamptz, until_at timestamptz, lookback interval default '3 hours'
) returns table (
    target_id bigint, collected_at timestamptz, since_at timestamptz, fell boolean, datid oid,
    indexrelid oid, idx_scan bigint, last_idx_scan_at timestamp with time zone, idx_tup_read bigint,
    idx_tup_fetch bigint, idx_blks_read bigint, idx_blks_hit bigint
) language sql stable as $$
    select
        m.target_id, m.collected_at, f.since_at, coalesce(fell, false), m.datid, m.indexrelid,
        case when not fell then m.idx_scan - (p).idx_scan end, m.last_idx_scan_at,
        case when not fell then m.idx_tup_read - (p).idx_tup_read end,
        case when not fell then m.idx_tup_fetch - (p).idx_tup_fetch end,
        case when not fell then m.idx_blks_read - (p).idx_blks_read end,
        case when not fell then m.idx_blks_hit - (p).idx_blks_hit end
    from (
        select m, lag(m) over (partition by m.target_id, m.datid, m.indexrelid order by m.collected_at) as p
        from metric.index_stats m
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
        where f.target_id = of_target and f.metric = 'index_stats'
            and f.batch_at > from_at - lookback and f.batch_at <= until_at + interval '1 hour'
            and f.collected_at > from_at - lookback and f.collected_at <= until_at
    ) as f on f.collected_at = m.collected_at and f.datid = m.datid
    cross join lateral (
        select case
            when m.epoch = (p).epoch
                and (p).collected_at >= coalesce(f.full_at, '-infinity')
                and not m.gone
                and not (p).gone
            then coalesce(least(m.idx_scan - (p).idx_scan, m.idx_tup_read - (p).idx_tup_read, m.idx_tup_fetch - (p).idx_tup_fetch,
                m.idx_blks_read - (p).idx_blks_read, m.idx_blks_hit - (p).idx_blks_hit) < 0, false)
        end as fell  -- null where the row before is of another epoch, or is none
    ) as compared
    where m.collected_at > from_at
      and not m.gone
$$;
create view delta.index_stats as
    select d.*
    from store.target t
    cross join lateral delta.index_stats(t.target_id, '-infinity', 'infinity') as d;

-- Entries of the server's log (stderr, csvlog or jsonlog form), each once, with the literals taken out.
create table metric.log_event (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    file_id text not null,
    position bigint not null,
    logged_at timestamp with time zone,
    severity text,
    sqlstate text,
    pid bigint,
    database_name text,
    user_name text,
    application_name text,
    backend_type text,
    query_id bigint,
    duration_us bigint,
    message text,
    detail text,
    hint text,
    context text,
    statement text
) partition by range (collected_at);
create index on metric.log_event (target_id, collected_at);

