-- What is kept of each hour when its readings are gone; tables and functions as infra/database/rollup.py drafts them.
create schema rollup;

-- Hours of which something was loaded since they were rolled up. Loading appends, with what it loads, and never looks:
-- two loaders never wait for one another here, and the rollup takes away only what it saw before it looked at the data.
create table store.rollup_due (
    target_id bigint not null,
    hour timestamptz not null
);
create index on store.rollup_due (hour, target_id);

-- Makes what is missing of the rollups' partitions of the month that this day is in, and answers how many it made.
create function store.make_rollup_partitions(for_day date) returns integer
language plpgsql as $$
declare
    parent text;
    part text;
    month date := date_trunc('month', for_day)::date;
    made integer := 0;
begin
    if not exists (
        select from pg_class c
        where c.relkind = 'p' and c.relnamespace = 'rollup'::regnamespace
            and to_regclass(format('partition.%I', 'rollup_' || c.relname || '_' || to_char(month, 'YYYYMM'))) is null
    ) then
        return 0;  -- most of the time: and nobody waits for the lock
    end if;
    perform pg_advisory_xact_lock(hashtext('store.make_partitions'));
    for parent in
        select c.relname from pg_class c where c.relkind = 'p' and c.relnamespace = 'rollup'::regnamespace order by 1
    loop
        part := 'rollup_' || parent || '_' || to_char(month, 'YYYYMM');
        if to_regclass(format('partition.%I', part)) is null then
            execute format('create table partition.%I (like rollup.%I including all)', part, parent);
            execute format(
                'alter table rollup.%I attach partition partition.%I for values from (%L) to (%L)', parent, part,
                month::timestamp at time zone 'UTC', (month + interval '1 month')::timestamp at time zone 'UTC'
            );
            made := made + 1;
        end if;
    end loop;
    return made;
end
$$;

create table rollup.host_cpu (
    target_id bigint not null,
    hour timestamp with time zone not null,
    user_us bigint,
    nice_us bigint,
    system_us bigint,
    idle_us bigint,
    iowait_us bigint,
    irq_us bigint,
    softirq_us bigint,
    steal_us bigint,
    readings bigint,
    covered_us bigint,
    resets bigint,
    unknown bigint,
    falls bigint
) partition by range (hour);
create index on rollup.host_cpu (target_id, hour);
create function rollup.make_host_cpu(of_target bigint, of_hour timestamptz) returns bigint
language sql as $$
    delete from rollup.host_cpu where target_id = of_target and hour = of_hour;
    with frame as materialized (
        select f.*,
            min(f.n) filter (where f.mode = 'full') over (
                partition by f.datid order by f.n rows between 1 following and unbounded following
            ) as full_n,
            min(f.n) filter (where f.collected_at >= of_hour) over (partition by f.datid) as first_n,
            max(f.n) over (partition by f.datid) as last_n
        from (
            select f.datid, f.collected_at, f.mode, row_number() over w as n,
                case when f.epoch = lag(f.epoch) over w then f.collected_at - lag(f.collected_at) over w end as covers,
                f.epoch <> lag(f.epoch) over w as resets
            from store.frame f
            where f.target_id = of_target and f.metric = 'host_cpu'
                and f.batch_at >= of_hour - interval '3 hours' and f.batch_at < of_hour + interval '2 hours'
                and f.collected_at >= of_hour - interval '3 hours' and f.collected_at < of_hour + interval '1 hour'
            window w as (partition by f.datid order by f.collected_at)
        ) as f
    ), cover as (
        select datid, (sum(extract(epoch from covers)) * 1000000)::bigint as covered_us,
            count(*) filter (where resets) as resets
        from frame
        where collected_at >= of_hour
        group by datid
    ), difference as (
        select
            d.target_id, sum(d.user_us)::bigint as user_us, sum(d.nice_us)::bigint as nice_us,
            sum(d.system_us)::bigint as system_us, sum(d.idle_us)::bigint as idle_us,
            sum(d.iowait_us)::bigint as iowait_us, sum(d.irq_us)::bigint as irq_us,
            sum(d.softirq_us)::bigint as softirq_us, sum(d.steal_us)::bigint as steal_us, count(*) as readings,
            count(*) filter (where d.fell) as falls,
            count(*) filter (where not d.fell and num_nonnulls(
                d.user_us, d.nice_us, d.system_us, d.idle_us, d.iowait_us, d.irq_us, d.softirq_us, d.steal_us
            ) = 0) as unknown
        from delta.host_cpu(
            of_target, of_hour - interval '1 microsecond', of_hour + interval '1 hour' - interval '1 microsecond'
        ) as d
        group by d.target_id
    ), made as (
        insert into rollup.host_cpu
        select
            of_target, of_hour, user_us, nice_us, system_us, idle_us, iowait_us, irq_us, softirq_us, steal_us,
            readings, coalesce(covered_us, 0), coalesce(resets, 0), unknown, falls
        from difference
        left join (select covered_us, resets from cover) as cover on true
        returning 1
    )
    select count(*) from made
$$;

create table rollup.host_memory (
    target_id bigint not null,
    hour timestamp with time zone not null,
    swapped_in_bytes bigint,
    swapped_out_bytes bigint,
    readings bigint,
    covered_us bigint,
    resets bigint,
    unknown bigint,
    falls bigint,
    available_bytes_avg double precision,
    available_bytes_min bigint,
    available_bytes_max bigint,
    available_bytes_last bigint,
    cached_bytes_avg double precision,
    cached_bytes_min bigint,
    cached_bytes_max bigint,
    cached_bytes_last bigint,
    shared_bytes_avg double precision,
    shared_bytes_min bigint,
    shared_bytes_max bigint,
    shared_bytes_last bigint,
    dirty_bytes_avg double precision,
    dirty_bytes_min bigint,
    dirty_bytes_max bigint,
    dirty_bytes_last bigint,
    swap_used_bytes_avg double precision,
    swap_used_bytes_min bigint,
    swap_used_bytes_max bigint,
    swap_used_bytes_last bigint,
    samples bigint
) partition by range (hour);
create index on rollup.host_memory (target_id, hour);
create function rollup.make_host_memory(of_target bigint, of_hour timestamptz) returns bigint
language sql as $$
    delete from rollup.host_memory where target_id = of_target and hour = of_hour;
    with frame as materialized (
        select f.*,
            min(f.n) filter (where f.mode = 'full') over (
                partition by f.datid order by f.n rows between 1 following and unbounded following
            ) as full_n,
            min(f.n) filter (where f.collected_at >= of_hour) over (partition by f.datid) as first_n,
            max(f.n) over (partition by f.datid) as last_n
        from (
            select f.datid, f.collected_at, f.mode, row_number() over w as n,
                case when f.epoch = lag(f.epoch) over w then f.collected_at - lag(f.collected_at) over w end as covers,
                f.epoch <> lag(f.epoch) over w as resets
            from store.frame f
            where f.target_id = of_target and f.metric = 'host_memory'
                and f.batch_at >= of_hour - interval '3 hours' and f.batch_at < of_hour + interval '2 hours'
                and f.collected_at >= of_hour - interval '3 hours' and f.collected_at < of_hour + interval '1 hour'
            window w as (partition by f.datid order by f.collected_at)
        ) as f
    ), cover as (
        select datid, (sum(extract(epoch from covers)) * 1000000)::bigint as covered_us,
            count(*) filter (where resets) as resets
        from frame
        where collected_at >= of_hour
        group by datid
    ), difference as (
        select
            d.target_id, sum(d.swapped_in_bytes)::bigint as swapped_in_bytes,
            sum(d.swapped_out_bytes)::bigint as swapped_out_bytes, count(*) as readings,
            count(*) filter (where d.fell) as falls,
            count(*) filter (where not d.fell and num_nonnulls(
                d.swapped_in_bytes, d.swapped_out_bytes
            ) = 0) as unknown
        from delta.host_memory(
            of_target, of_hour - interval '1 microsecond', of_hour + interval '1 hour' - interval '1 microsecond'
        ) as d
        group by d.target_id
    ), value as (
        select
            m.target_id, avg(m.available_bytes)::float8 as available_bytes_avg,
            min(m.available_bytes) as available_bytes_min, max(m.available_bytes) as available_bytes_max,
            (array_agg(m.available_bytes order by m.collected_at desc))[1] as available_bytes_last,
            avg(m.cached_bytes)::float8 as cached_bytes_avg, min(m.cached_bytes) as cached_bytes_min,
            max(m.cached_bytes) as cached_bytes_max,
            (array_agg(m.cached_bytes order by m.collected_at desc))[1] as cached_bytes_last,
            avg(m.shared_bytes)::float8 as shared_bytes_avg, min(m.shared_bytes) as shared_bytes_min,
            max(m.shared_bytes) as shared_bytes_max,
            (array_agg(m.shared_bytes order by m.collected_at desc))[1] as shared_bytes_last,
            avg(m.dirty_bytes)::float8 as dirty_bytes_avg, min(m.dirty_bytes) as dirty_bytes_min,
            max(m.dirty_bytes) as dirty_bytes_max,
            (array_agg(m.dirty_bytes order by m.collected_at desc))[1] as dirty_bytes_last,
            avg(m.swap_used_bytes)::float8 as swap_used_bytes_avg, min(m.swap_used_bytes) as swap_used_bytes_min,
            max(m.swap_used_bytes) as swap_used_bytes_max,
            (array_agg(m.swap_used_bytes order by m.collected_at desc))[1] as swap_used_bytes_last,
            count(*) as samples
        from metric.host_memory m
        where m.target_id = of_target and m.collected_at >= of_hour and m.collected_at < of_hour + interval '1 hour'
        group by m.target_id
    ), made as (
        insert into rollup.host_memory
        select
            of_target, of_hour, swapped_in_bytes, swapped_out_bytes, readings, coalesce(covered_us, 0),
            coalesce(resets, 0), unknown, falls, available_bytes_avg, available_bytes_min, available_bytes_max,
            available_bytes_last, cached_bytes_avg, cached_bytes_min, cached_bytes_max, cached_bytes_last,
            shared_bytes_avg, shared_bytes_min, shared_bytes_max, shared_bytes_last, dirty_bytes_avg,
            dirty_bytes_min, dirty_bytes_max, dirty_bytes_last, swap_used_bytes_avg, swap_used_bytes_min,
            swap_used_bytes_max, swap_used_bytes_last, samples
        from difference join value using (target_id)
        left join (select covered_us, resets from cover) as cover on true
        returning 1
    )
    select count(*) from made
$$;

create table rollup.host_load (
    target_id bigint not null,
    hour timestamp with time zone not null,
    load_1m_avg double precision,
    load_1m_min double precision,
    load_1m_max double precision,
    load_1m_last double precision,
    load_5m_avg double precision,
    load_5m_min double precision,
    load_5m_max double precision,
    load_5m_last double precision,
    runnable_avg double precision,
    runnable_min bigint,
    runnable_max bigint,
    runnable_last bigint,
    samples bigint
) partition by range (hour);
create index on rollup.host_load (target_id, hour);
create function rollup.make_host_load(of_target bigint, of_hour timestamptz) returns bigint
language sql as $$
    delete from rollup.host_load where target_id = of_target and hour = of_hour;
    with value as (
        select
            m.target_id, avg(m.load_1m)::float8 as load_1m_avg, min(m.load_1m) as load_1m_min,
            max(m.load_1m) as load_1m_max,
            (array_agg(m.load_1m order by m.collected_at desc))[1] as load_1m_last,
            avg(m.load_5m)::float8 as load_5m_avg, min(m.load_5m) as load_5m_min, max(m.load_5m) as load_5m_max,
            (array_agg(m.load_5m order by m.collected_at desc))[1] as load_5m_last,
            avg(m.runnable)::float8 as runnable_avg, min(m.runnable) as runnable_min,
            max(m.runnable) as runnable_max,
            (array_agg(m.runnable order by m.collected_at desc))[1] as runnable_last, count(*) as samples
        from metric.host_load m
        where m.target_id = of_target and m.collected_at >= of_hour and m.collected_at < of_hour + interval '1 hour'
        group by m.target_id
    ), made as (
        insert into rollup.host_load
        select
            of_target, of_hour, load_1m_avg, load_1m_min, load_1m_max, load_1m_last, load_5m_avg, load_5m_min,
            load_5m_max, load_5m_last, runnable_avg, runnable_min, runnable_max, runnable_last, samples
        from value
        returning 1
    )
    select count(*) from made
$$;

create table rollup.host_disk (
    target_id bigint not null,
    hour timestamp with time zone not null,
    device text,
    reads bigint,
    writes bigint,
    read_bytes bigint,
    written_bytes bigint,
    read_us bigint,
    write_us bigint,
    busy_us bigint,
    readings bigint,
    covered_us bigint,
    resets bigint,
    unknown bigint,
    falls bigint
) partition by range (hour);
create index on rollup.host_disk (target_id, hour);
create function rollup.make_host_disk(of_target bigint, of_hour timestamptz) returns bigint
language sql as $$
    delete from rollup.host_disk where target_id = of_target and hour = of_hour;
    with frame as materialized (
        select f.*,
            min(f.n) filter (where f.mode = 'full') over (
                partition by f.datid order by f.n rows between 1 following and unbounded following
            ) as full_n,
            min(f.n) filter (where f.collected_at >= of_hour) over (partition by f.datid) as first_n,
            max(f.n) over (partition by f.datid) as last_n
        from (
            select f.datid, f.collected_at, f.mode, row_number() over w as n,
                case when f.epoch = lag(f.epoch) over w then f.collected_at - lag(f.collected_at) over w end as covers,
                f.epoch <> lag(f.epoch) over w as resets
            from store.frame f
            where f.target_id = of_target and f.metric = 'host_disk'
                and f.batch_at >= of_hour - interval '3 hours' and f.batch_at < of_hour + interval '2 hours'
                and f.collected_at >= of_hour - interval '3 hours' and f.collected_at < of_hour + interval '1 hour'
            window w as (partition by f.datid order by f.collected_at)
        ) as f
    ), cover as (
        select datid, (sum(extract(epoch from covers)) * 1000000)::bigint as covered_us,
            count(*) filter (where resets) as resets
        from frame
        where collected_at >= of_hour
        group by datid
    ), difference as (
        select
            d.target_id, d.device, sum(d.reads)::bigint as reads, sum(d.writes)::bigint as writes,
            sum(d.read_bytes)::bigint as read_bytes, sum(d.written_bytes)::bigint as written_bytes,
            sum(d.read_us)::bigint as read_us, sum(d.write_us)::bigint as write_us,
            sum(d.busy_us)::bigint as busy_us, count(*) as readings, count(*) filter (where d.fell) as falls,
            count(*) filter (where not d.fell and num_nonnulls(
                d.reads, d.writes, d.read_bytes, d.written_bytes, d.read_us, d.write_us, d.busy_us
            ) = 0) as unknown
        from delta.host_disk(
            of_target, of_hour - interval '1 microsecond', of_hour + interval '1 hour' - interval '1 microsecond'
        ) as d
        group by d.target_id, d.device
    ), made as (
        insert into rollup.host_disk
        select
            of_target, of_hour, device, reads, writes, read_bytes, written_bytes, read_us, write_us, busy_us,
            readings, coalesce(covered_us, 0), coalesce(resets, 0), unknown, falls
        from difference
        left join (select covered_us, resets from cover) as cover on true
        returning 1
    )
    select count(*) from made
$$;

create table rollup.host_network (
    target_id bigint not null,
    hour timestamp with time zone not null,
    interface text,
    received_bytes bigint,
    sent_bytes bigint,
    receive_errors bigint,
    send_errors bigint,
    receive_drops bigint,
    send_drops bigint,
    readings bigint,
    covered_us bigint,
    resets bigint,
    unknown bigint,
    falls bigint
) partition by range (hour);
create index on rollup.host_network (target_id, hour);
create function rollup.make_host_network(of_target bigint, of_hour timestamptz) returns bigint
language sql as $$
    delete from rollup.host_network where target_id = of_target and hour = of_hour;
    with frame as materialized (
        select f.*,
            min(f.n) filter (where f.mode = 'full') over (
                partition by f.datid order by f.n rows between 1 following and unbounded following
            ) as full_n,
            min(f.n) filter (where f.collected_at >= of_hour) over (partition by f.datid) as first_n,
            max(f.n) over (partition by f.datid) as last_n
        from (
            select f.datid, f.collected_at, f.mode, row_number() over w as n,
                case when f.epoch = lag(f.epoch) over w then f.collected_at - lag(f.collected_at) over w end as covers,
                f.epoch <> lag(f.epoch) over w as resets
            from store.frame f
            where f.target_id = of_target and f.metric = 'host_network'
                and f.batch_at >= of_hour - interval '3 hours' and f.batch_at < of_hour + interval '2 hours'
                and f.collected_at >= of_hour - interval '3 hours' and f.collected_at < of_hour + interval '1 hour'
            window w as (partition by f.datid order by f.collected_at)
        ) as f
    ), cover as (
        select datid, (sum(extract(epoch from covers)) * 1000000)::bigint as covered_us,
            count(*) filter (where resets) as resets
        from frame
        where collected_at >= of_hour
        group by datid
    ), difference as (
        select
            d.target_id, d.interface, sum(d.received_bytes)::bigint as received_bytes,
            sum(d.sent_bytes)::bigint as sent_bytes, sum(d.receive_errors)::bigint as receive_errors,
            sum(d.send_errors)::bigint as send_errors, sum(d.receive_drops)::bigint as receive_drops,
            sum(d.send_drops)::bigint as send_drops, count(*) as readings,
            count(*) filter (where d.fell) as falls,
            count(*) filter (where not d.fell and num_nonnulls(
                d.received_bytes, d.sent_bytes, d.receive_errors, d.send_errors, d.receive_drops, d.send_drops
            ) = 0) as unknown
        from delta.host_network(
            of_target, of_hour - interval '1 microsecond', of_hour + interval '1 hour' - interval '1 microsecond'
        ) as d
        group by d.target_id, d.interface
    ), made as (
        insert into rollup.host_network
        select
            of_target, of_hour, interface, received_bytes, sent_bytes, receive_errors, send_errors,
            receive_drops, send_drops, readings, coalesce(covered_us, 0), coalesce(resets, 0), unknown, falls
        from difference
        left join (select covered_us, resets from cover) as cover on true
        returning 1
    )
    select count(*) from made
$$;

create table rollup.host_filesystem (
    target_id bigint not null,
    hour timestamp with time zone not null,
    mountpoint text,
    total_bytes_avg double precision,
    total_bytes_min bigint,
    total_bytes_max bigint,
    total_bytes_last bigint,
    used_bytes_avg double precision,
    used_bytes_min bigint,
    used_bytes_max bigint,
    used_bytes_last bigint,
    available_bytes_avg double precision,
    available_bytes_min bigint,
    available_bytes_max bigint,
    available_bytes_last bigint,
    used_inodes_avg double precision,
    used_inodes_min bigint,
    used_inodes_max bigint,
    used_inodes_last bigint,
    samples bigint
) partition by range (hour);
create index on rollup.host_filesystem (target_id, hour);
create function rollup.make_host_filesystem(of_target bigint, of_hour timestamptz) returns bigint
language sql as $$
    delete from rollup.host_filesystem where target_id = of_target and hour = of_hour;
    with value as (
        select
            m.target_id, m.mountpoint, avg(m.total_bytes)::float8 as total_bytes_avg,
            min(m.total_bytes) as total_bytes_min, max(m.total_bytes) as total_bytes_max,
            (array_agg(m.total_bytes order by m.collected_at desc))[1] as total_bytes_last,
            avg(m.used_bytes)::float8 as used_bytes_avg, min(m.used_bytes) as used_bytes_min,
            max(m.used_bytes) as used_bytes_max,
            (array_agg(m.used_bytes order by m.collected_at desc))[1] as used_bytes_last,
            avg(m.available_bytes)::float8 as available_bytes_avg, min(m.available_bytes) as available_bytes_min,
            max(m.available_bytes) as available_bytes_max,
            (array_agg(m.available_bytes order by m.collected_at desc))[1] as available_bytes_last,
            avg(m.used_inodes)::float8 as used_inodes_avg, min(m.used_inodes) as used_inodes_min,
            max(m.used_inodes) as used_inodes_max,
            (array_agg(m.used_inodes order by m.collected_at desc))[1] as used_inodes_last, count(*) as samples
        from metric.host_filesystem m
        where m.target_id = of_target and m.collected_at >= of_hour and m.collected_at < of_hour + interval '1 hour'
        group by m.target_id, m.mountpoint
    ), made as (
        insert into rollup.host_filesystem
        select
            of_target, of_hour, mountpoint, total_bytes_avg, total_bytes_min, total_bytes_max, total_bytes_last,
            used_bytes_avg, used_bytes_min, used_bytes_max, used_bytes_last, available_bytes_avg,
            available_bytes_min, available_bytes_max, available_bytes_last, used_inodes_avg, used_inodes_min,
            used_inodes_max, used_inodes_last, samples
        from value
        returning 1
    )
    select count(*) from made
$$;

create table rollup.database_stats (
    target_id bigint not null,
    hour timestamp with time zone not null,
    datid oid,
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
    blk_read_time_us bigint,
    blk_write_time_us bigint,
    session_time_us bigint,
    active_time_us bigint,
    idle_in_transaction_time_us bigint,
    sessions bigint,
    readings bigint,
    covered_us bigint,
    resets bigint,
    unknown bigint,
    falls bigint,
    numbackends_avg double precision,
    numbackends_min bigint,
    numbackends_max bigint,
    numbackends_last bigint,
    samples bigint
) partition by range (hour);
create index on rollup.database_stats (target_id, hour);
create function rollup.make_database_stats(of_target bigint, of_hour timestamptz) returns bigint
language sql as $$
    delete from rollup.database_stats where target_id = of_target and hour = of_hour;
    with frame as materialized (
        select f.*,
            min(f.n) filter (where f.mode = 'full') over (
                partition by f.datid order by f.n rows between 1 following and unbounded following
            ) as full_n,
            min(f.n) filter (where f.collected_at >= of_hour) over (partition by f.datid) as first_n,
            max(f.n) over (partition by f.datid) as last_n
        from (
            select f.datid, f.collected_at, f.mode, row_number() over w as n,
                case when f.epoch = lag(f.epoch) over w then f.collected_at - lag(f.collected_at) over w end as covers,
                f.epoch <> lag(f.epoch) over w as resets
            from store.frame f
            where f.target_id = of_target and f.metric = 'database_stats'
                and f.batch_at >= of_hour - interval '3 hours' and f.batch_at < of_hour + interval '2 hours'
                and f.collected_at >= of_hour - interval '3 hours' and f.collected_at < of_hour + interval '1 hour'
            window w as (partition by f.datid order by f.collected_at)
        ) as f
    ), cover as (
        select datid, (sum(extract(epoch from covers)) * 1000000)::bigint as covered_us,
            count(*) filter (where resets) as resets
        from frame
        where collected_at >= of_hour
        group by datid
    ), difference as (
        select
            d.target_id, d.datid, sum(d.xact_commit)::bigint as xact_commit,
            sum(d.xact_rollback)::bigint as xact_rollback, sum(d.blks_read)::bigint as blks_read,
            sum(d.blks_hit)::bigint as blks_hit, sum(d.tup_returned)::bigint as tup_returned,
            sum(d.tup_fetched)::bigint as tup_fetched, sum(d.tup_inserted)::bigint as tup_inserted,
            sum(d.tup_updated)::bigint as tup_updated, sum(d.tup_deleted)::bigint as tup_deleted,
            sum(d.conflicts)::bigint as conflicts, sum(d.temp_files)::bigint as temp_files,
            sum(d.temp_bytes)::bigint as temp_bytes, sum(d.deadlocks)::bigint as deadlocks,
            sum(d.checksum_failures)::bigint as checksum_failures,
            sum(d.blk_read_time_us)::bigint as blk_read_time_us,
            sum(d.blk_write_time_us)::bigint as blk_write_time_us,
            sum(d.session_time_us)::bigint as session_time_us, sum(d.active_time_us)::bigint as active_time_us,
            sum(d.idle_in_transaction_time_us)::bigint as idle_in_transaction_time_us,
            sum(d.sessions)::bigint as sessions, count(*) as readings, count(*) filter (where d.fell) as falls,
            count(*) filter (where not d.fell and num_nonnulls(
                d.xact_commit, d.xact_rollback, d.blks_read, d.blks_hit, d.tup_returned, d.tup_fetched,
                d.tup_inserted, d.tup_updated, d.tup_deleted, d.conflicts, d.temp_files, d.temp_bytes, d.deadlocks,
                d.checksum_failures, d.blk_read_time_us, d.blk_write_time_us, d.session_time_us, d.active_time_us,
                d.idle_in_transaction_time_us, d.sessions
            ) = 0) as unknown
        from delta.database_stats(
            of_target, of_hour - interval '1 microsecond', of_hour + interval '1 hour' - interval '1 microsecond'
        ) as d
        group by d.target_id, d.datid
    ), value as (
        select
            m.target_id, m.datid,
            sum(m.numbackends::float8 * m.times) / sum(m.times) filter (where m.numbackends is not null) as numbackends_avg,
            min(m.numbackends) as numbackends_min, max(m.numbackends) as numbackends_max,
            (array_agg(m.numbackends order by m.collected_at desc))[1] as numbackends_last,
            sum(m.times)::bigint as samples
        from (
            -- A row stands, unread, for the readings until the next row of its key, or the next reading of every row.
            select m.*, least(lead(f.n) over (partition by m.target_id, m.datid order by f.n), f.full_n, f.last_n + 1)
                - greatest(f.n, f.first_n) as times
            from metric.database_stats m
            join frame f on f.collected_at = m.collected_at
            where m.target_id = of_target and m.collected_at >= of_hour - interval '3 hours' and m.collected_at < of_hour + interval '1 hour'
        ) as m
        where m.times > 0 and not m.gone
        group by m.target_id, m.datid
        having max(m.collected_at) >= of_hour
    ), made as (
        insert into rollup.database_stats
        select
            of_target, of_hour, datid, xact_commit, xact_rollback, blks_read, blks_hit, tup_returned,
            tup_fetched, tup_inserted, tup_updated, tup_deleted, conflicts, temp_files, temp_bytes, deadlocks,
            checksum_failures, blk_read_time_us, blk_write_time_us, session_time_us, active_time_us,
            idle_in_transaction_time_us, sessions, readings, coalesce(covered_us, 0), coalesce(resets, 0),
            unknown, falls, numbackends_avg, numbackends_min, numbackends_max, numbackends_last, samples
        from difference join value using (target_id, datid)
        left join (select covered_us, resets from cover) as cover on true
        returning 1
    )
    select count(*) from made
$$;

create table rollup.table_stats (
    target_id bigint not null,
    hour timestamp with time zone not null,
    datid oid,
    relid oid,
    seq_scan bigint,
    seq_tup_read bigint,
    n_tup_ins bigint,
    n_tup_upd bigint,
    n_tup_del bigint,
    n_tup_hot_upd bigint,
    vacuum_count bigint,
    autovacuum_count bigint,
    analyze_count bigint,
    autoanalyze_count bigint,
    heap_blks_read bigint,
    heap_blks_hit bigint,
    readings bigint,
    covered_us bigint,
    resets bigint,
    unknown bigint,
    falls bigint,
    n_live_tup_avg double precision,
    n_live_tup_min bigint,
    n_live_tup_max bigint,
    n_live_tup_last bigint,
    n_dead_tup_avg double precision,
    n_dead_tup_min bigint,
    n_dead_tup_max bigint,
    n_dead_tup_last bigint,
    samples bigint
) partition by range (hour);
create index on rollup.table_stats (target_id, hour);
create function rollup.make_table_stats(of_target bigint, of_hour timestamptz) returns bigint
language sql as $$
    delete from rollup.table_stats where target_id = of_target and hour = of_hour;
    with frame as materialized (
        select f.*,
            min(f.n) filter (where f.mode = 'full') over (
                partition by f.datid order by f.n rows between 1 following and unbounded following
            ) as full_n,
            min(f.n) filter (where f.collected_at >= of_hour) over (partition by f.datid) as first_n,
            max(f.n) over (partition by f.datid) as last_n
        from (
            select f.datid, f.collected_at, f.mode, row_number() over w as n,
                case when f.epoch = lag(f.epoch) over w then f.collected_at - lag(f.collected_at) over w end as covers,
                f.epoch <> lag(f.epoch) over w as resets
            from store.frame f
            where f.target_id = of_target and f.metric = 'table_stats'
                and f.batch_at >= of_hour - interval '3 hours' and f.batch_at < of_hour + interval '2 hours'
                and f.collected_at >= of_hour - interval '3 hours' and f.collected_at < of_hour + interval '1 hour'
            window w as (partition by f.datid order by f.collected_at)
        ) as f
    ), cover as (
        select datid, (sum(extract(epoch from covers)) * 1000000)::bigint as covered_us,
            count(*) filter (where resets) as resets
        from frame
        where collected_at >= of_hour
        group by datid
    ), difference as (
        select
            d.target_id, d.datid, d.relid, sum(d.seq_scan)::bigint as seq_scan,
            sum(d.seq_tup_read)::bigint as seq_tup_read, sum(d.n_tup_ins)::bigint as n_tup_ins,
            sum(d.n_tup_upd)::bigint as n_tup_upd, sum(d.n_tup_del)::bigint as n_tup_del,
            sum(d.n_tup_hot_upd)::bigint as n_tup_hot_upd, sum(d.vacuum_count)::bigint as vacuum_count,
            sum(d.autovacuum_count)::bigint as autovacuum_count, sum(d.analyze_count)::bigint as analyze_count,
            sum(d.autoanalyze_count)::bigint as autoanalyze_count,
            sum(d.heap_blks_read)::bigint as heap_blks_read, sum(d.heap_blks_hit)::bigint as heap_blks_hit,
            count(*) as readings, count(*) filter (where d.fell) as falls,
            count(*) filter (where not d.fell and num_nonnulls(
                d.seq_scan, d.seq_tup_read, d.n_tup_ins, d.n_tup_upd, d.n_tup_del, d.n_tup_hot_upd, d.vacuum_count,
                d.autovacuum_count, d.analyze_count, d.autoanalyze_count, d.heap_blks_read, d.heap_blks_hit
            ) = 0) as unknown
        from delta.table_stats(
            of_target, of_hour - interval '1 microsecond', of_hour + interval '1 hour' - interval '1 microsecond'
        ) as d
        group by d.target_id, d.datid, d.relid
    ), value as (
        select
            m.target_id, m.datid, m.relid,
            sum(m.n_live_tup::float8 * m.times) / sum(m.times) filter (where m.n_live_tup is not null) as n_live_tup_avg,
            min(m.n_live_tup) as n_live_tup_min, max(m.n_live_tup) as n_live_tup_max,
            (array_agg(m.n_live_tup order by m.collected_at desc))[1] as n_live_tup_last,
            sum(m.n_dead_tup::float8 * m.times) / sum(m.times) filter (where m.n_dead_tup is not null) as n_dead_tup_avg,
            min(m.n_dead_tup) as n_dead_tup_min, max(m.n_dead_tup) as n_dead_tup_max,
            (array_agg(m.n_dead_tup order by m.collected_at desc))[1] as n_dead_tup_last,
            sum(m.times)::bigint as samples
        from (
            -- A row stands, unread, for the readings until the next row of its key, or the next reading of every row.
            select m.*, least(lead(f.n) over (partition by m.target_id, m.datid, m.relid order by f.n), f.full_n, f.last_n + 1)
                - greatest(f.n, f.first_n) as times
            from metric.table_stats m
            join frame f on f.collected_at = m.collected_at and f.datid = m.datid
            where m.target_id = of_target and m.collected_at >= of_hour - interval '3 hours' and m.collected_at < of_hour + interval '1 hour'
        ) as m
        where m.times > 0 and not m.gone
        group by m.target_id, m.datid, m.relid
        having max(m.collected_at) >= of_hour
    ), made as (
        insert into rollup.table_stats
        select
            of_target, of_hour, datid, relid, seq_scan, seq_tup_read, n_tup_ins, n_tup_upd, n_tup_del,
            n_tup_hot_upd, vacuum_count, autovacuum_count, analyze_count, autoanalyze_count, heap_blks_read,
            heap_blks_hit, readings, coalesce(covered_us, 0), coalesce(resets, 0), unknown, falls,
            n_live_tup_avg, n_live_tup_min, n_live_tup_max, n_live_tup_last, n_dead_tup_avg, n_dead_tup_min,
            n_dead_tup_max, n_dead_tup_last, samples
        from difference join value using (target_id, datid, relid)
        left join (select datid, covered_us, resets from cover) as cover using (datid)
        returning 1
    )
    select count(*) from made
$$;

create table rollup.index_stats (
    target_id bigint not null,
    hour timestamp with time zone not null,
    datid oid,
    indexrelid oid,
    idx_scan bigint,
    idx_tup_read bigint,
    idx_tup_fetch bigint,
    idx_blks_read bigint,
    idx_blks_hit bigint,
    readings bigint,
    covered_us bigint,
    resets bigint,
    unknown bigint,
    falls bigint
) partition by range (hour);
create index on rollup.index_stats (target_id, hour);
create function rollup.make_index_stats(of_target bigint, of_hour timestamptz) returns bigint
language sql as $$
    delete from rollup.index_stats where target_id = of_target and hour = of_hour;
    with frame as materialized (
        select f.*,
            min(f.n) filter (where f.mode = 'full') over (
                partition by f.datid order by f.n rows between 1 following and unbounded following
            ) as full_n,
            min(f.n) filter (where f.collected_at >= of_hour) over (partition by f.datid) as first_n,
            max(f.n) over (partition by f.datid) as last_n
        from (
            select f.datid, f.collected_at, f.mode, row_number() over w as n,
                case when f.epoch = lag(f.epoch) over w then f.collected_at - lag(f.collected_at) over w end as covers,
                f.epoch <> lag(f.epoch) over w as resets
            from store.frame f
            where f.target_id = of_target and f.metric = 'index_stats'
                and f.batch_at >= of_hour - interval '3 hours' and f.batch_at < of_hour + interval '2 hours'
                and f.collected_at >= of_hour - interval '3 hours' and f.collected_at < of_hour + interval '1 hour'
            window w as (partition by f.datid order by f.collected_at)
        ) as f
    ), cover as (
        select datid, (sum(extract(epoch from covers)) * 1000000)::bigint as covered_us,
            count(*) filter (where resets) as resets
        from frame
        where collected_at >= of_hour
        group by datid
    ), difference as (
        select
            d.target_id, d.datid, d.indexrelid, sum(d.idx_scan)::bigint as idx_scan,
            sum(d.idx_tup_read)::bigint as idx_tup_read, sum(d.idx_tup_fetch)::bigint as idx_tup_fetch,
            sum(d.idx_blks_read)::bigint as idx_blks_read, sum(d.idx_blks_hit)::bigint as idx_blks_hit,
            count(*) as readings, count(*) filter (where d.fell) as falls,
            count(*) filter (where not d.fell and num_nonnulls(
                d.idx_scan, d.idx_tup_read, d.idx_tup_fetch, d.idx_blks_read, d.idx_blks_hit
            ) = 0) as unknown
        from delta.index_stats(
            of_target, of_hour - interval '1 microsecond', of_hour + interval '1 hour' - interval '1 microsecond'
        ) as d
        group by d.target_id, d.datid, d.indexrelid
    ), made as (
        insert into rollup.index_stats
        select
            of_target, of_hour, datid, indexrelid, idx_scan, idx_tup_read, idx_tup_fetch, idx_blks_read,
            idx_blks_hit, readings, coalesce(covered_us, 0), coalesce(resets, 0), unknown, falls
        from difference
        left join (select datid, covered_us, resets from cover) as cover using (datid)
        returning 1
    )
    select count(*) from made
$$;

create table rollup.statement_stats (
    target_id bigint not null,
    hour timestamp with time zone not null,
    userid oid,
    dbid oid,
    queryid bigint,
    toplevel boolean,
    calls bigint,
    rows bigint,
    total_exec_time_us bigint,
    total_plan_time_us bigint,
    shared_blks_hit bigint,
    shared_blks_read bigint,
    shared_blks_dirtied bigint,
    shared_blks_written bigint,
    temp_blks_read bigint,
    temp_blks_written bigint,
    shared_blk_read_time_us bigint,
    shared_blk_write_time_us bigint,
    wal_bytes bigint,
    readings bigint,
    covered_us bigint,
    resets bigint,
    unknown bigint,
    falls bigint
) partition by range (hour);
create index on rollup.statement_stats (target_id, hour);
create function rollup.make_statement_stats(of_target bigint, of_hour timestamptz) returns bigint
language sql as $$
    delete from rollup.statement_stats where target_id = of_target and hour = of_hour;
    with frame as materialized (
        select f.*,
            min(f.n) filter (where f.mode = 'full') over (
                partition by f.datid order by f.n rows between 1 following and unbounded following
            ) as full_n,
            min(f.n) filter (where f.collected_at >= of_hour) over (partition by f.datid) as first_n,
            max(f.n) over (partition by f.datid) as last_n
        from (
            select f.datid, f.collected_at, f.mode, row_number() over w as n,
                case when f.epoch = lag(f.epoch) over w then f.collected_at - lag(f.collected_at) over w end as covers,
                f.epoch <> lag(f.epoch) over w as resets
            from store.frame f
            where f.target_id = of_target and f.metric = 'statement_stats'
                and f.batch_at >= of_hour - interval '3 hours' and f.batch_at < of_hour + interval '2 hours'
                and f.collected_at >= of_hour - interval '3 hours' and f.collected_at < of_hour + interval '1 hour'
            window w as (partition by f.datid order by f.collected_at)
        ) as f
    ), cover as (
        select datid, (sum(extract(epoch from covers)) * 1000000)::bigint as covered_us,
            count(*) filter (where resets) as resets
        from frame
        where collected_at >= of_hour
        group by datid
    ), difference as (
        select
            d.target_id, d.userid, d.dbid, d.queryid, d.toplevel, sum(d.calls)::bigint as calls,
            sum(d.rows)::bigint as rows, sum(d.total_exec_time_us)::bigint as total_exec_time_us,
            sum(d.total_plan_time_us)::bigint as total_plan_time_us,
            sum(d.shared_blks_hit)::bigint as shared_blks_hit,
            sum(d.shared_blks_read)::bigint as shared_blks_read,
            sum(d.shared_blks_dirtied)::bigint as shared_blks_dirtied,
            sum(d.shared_blks_written)::bigint as shared_blks_written,
            sum(d.temp_blks_read)::bigint as temp_blks_read,
            sum(d.temp_blks_written)::bigint as temp_blks_written,
            sum(d.shared_blk_read_time_us)::bigint as shared_blk_read_time_us,
            sum(d.shared_blk_write_time_us)::bigint as shared_blk_write_time_us,
            sum(d.wal_bytes)::bigint as wal_bytes, count(*) as readings, count(*) filter (where d.fell) as falls,
            count(*) filter (where not d.fell and num_nonnulls(
                d.calls, d.rows, d.total_exec_time_us, d.total_plan_time_us, d.shared_blks_hit, d.shared_blks_read,
                d.shared_blks_dirtied, d.shared_blks_written, d.temp_blks_read, d.temp_blks_written,
                d.shared_blk_read_time_us, d.shared_blk_write_time_us, d.wal_bytes
            ) = 0) as unknown
        from delta.statement_stats(
            of_target, of_hour - interval '1 microsecond', of_hour + interval '1 hour' - interval '1 microsecond'
        ) as d
        group by d.target_id, d.userid, d.dbid, d.queryid, d.toplevel
    ), made as (
        insert into rollup.statement_stats
        select
            of_target, of_hour, userid, dbid, queryid, toplevel, calls, rows, total_exec_time_us,
            total_plan_time_us, shared_blks_hit, shared_blks_read, shared_blks_dirtied, shared_blks_written,
            temp_blks_read, temp_blks_written, shared_blk_read_time_us, shared_blk_write_time_us, wal_bytes,
            readings, coalesce(covered_us, 0), coalesce(resets, 0), unknown, falls
        from difference
        left join (select covered_us, resets from cover) as cover on true
        returning 1
    )
    select count(*) from made
$$;

create table rollup.bgwriter (
    target_id bigint not null,
    hour timestamp with time zone not null,
    buffers_clean bigint,
    maxwritten_clean bigint,
    buffers_alloc bigint,
    readings bigint,
    covered_us bigint,
    resets bigint,
    unknown bigint,
    falls bigint
) partition by range (hour);
create index on rollup.bgwriter (target_id, hour);
create function rollup.make_bgwriter(of_target bigint, of_hour timestamptz) returns bigint
language sql as $$
    delete from rollup.bgwriter where target_id = of_target and hour = of_hour;
    with frame as materialized (
        select f.*,
            min(f.n) filter (where f.mode = 'full') over (
                partition by f.datid order by f.n rows between 1 following and unbounded following
            ) as full_n,
            min(f.n) filter (where f.collected_at >= of_hour) over (partition by f.datid) as first_n,
            max(f.n) over (partition by f.datid) as last_n
        from (
            select f.datid, f.collected_at, f.mode, row_number() over w as n,
                case when f.epoch = lag(f.epoch) over w then f.collected_at - lag(f.collected_at) over w end as covers,
                f.epoch <> lag(f.epoch) over w as resets
            from store.frame f
            where f.target_id = of_target and f.metric = 'bgwriter'
                and f.batch_at >= of_hour - interval '3 hours' and f.batch_at < of_hour + interval '2 hours'
                and f.collected_at >= of_hour - interval '3 hours' and f.collected_at < of_hour + interval '1 hour'
            window w as (partition by f.datid order by f.collected_at)
        ) as f
    ), cover as (
        select datid, (sum(extract(epoch from covers)) * 1000000)::bigint as covered_us,
            count(*) filter (where resets) as resets
        from frame
        where collected_at >= of_hour
        group by datid
    ), difference as (
        select
            d.target_id, sum(d.buffers_clean)::bigint as buffers_clean,
            sum(d.maxwritten_clean)::bigint as maxwritten_clean, sum(d.buffers_alloc)::bigint as buffers_alloc,
            count(*) as readings, count(*) filter (where d.fell) as falls,
            count(*) filter (where not d.fell and num_nonnulls(
                d.buffers_clean, d.maxwritten_clean, d.buffers_alloc
            ) = 0) as unknown
        from delta.bgwriter(
            of_target, of_hour - interval '1 microsecond', of_hour + interval '1 hour' - interval '1 microsecond'
        ) as d
        group by d.target_id
    ), made as (
        insert into rollup.bgwriter
        select
            of_target, of_hour, buffers_clean, maxwritten_clean, buffers_alloc, readings,
            coalesce(covered_us, 0), coalesce(resets, 0), unknown, falls
        from difference
        left join (select covered_us, resets from cover) as cover on true
        returning 1
    )
    select count(*) from made
$$;

create table rollup.checkpointer (
    target_id bigint not null,
    hour timestamp with time zone not null,
    num_timed bigint,
    num_requested bigint,
    write_time_us bigint,
    sync_time_us bigint,
    buffers_written bigint,
    readings bigint,
    covered_us bigint,
    resets bigint,
    unknown bigint,
    falls bigint
) partition by range (hour);
create index on rollup.checkpointer (target_id, hour);
create function rollup.make_checkpointer(of_target bigint, of_hour timestamptz) returns bigint
language sql as $$
    delete from rollup.checkpointer where target_id = of_target and hour = of_hour;
    with frame as materialized (
        select f.*,
            min(f.n) filter (where f.mode = 'full') over (
                partition by f.datid order by f.n rows between 1 following and unbounded following
            ) as full_n,
            min(f.n) filter (where f.collected_at >= of_hour) over (partition by f.datid) as first_n,
            max(f.n) over (partition by f.datid) as last_n
        from (
            select f.datid, f.collected_at, f.mode, row_number() over w as n,
                case when f.epoch = lag(f.epoch) over w then f.collected_at - lag(f.collected_at) over w end as covers,
                f.epoch <> lag(f.epoch) over w as resets
            from store.frame f
            where f.target_id = of_target and f.metric = 'checkpointer'
                and f.batch_at >= of_hour - interval '3 hours' and f.batch_at < of_hour + interval '2 hours'
                and f.collected_at >= of_hour - interval '3 hours' and f.collected_at < of_hour + interval '1 hour'
            window w as (partition by f.datid order by f.collected_at)
        ) as f
    ), cover as (
        select datid, (sum(extract(epoch from covers)) * 1000000)::bigint as covered_us,
            count(*) filter (where resets) as resets
        from frame
        where collected_at >= of_hour
        group by datid
    ), difference as (
        select
            d.target_id, sum(d.num_timed)::bigint as num_timed, sum(d.num_requested)::bigint as num_requested,
            sum(d.write_time_us)::bigint as write_time_us, sum(d.sync_time_us)::bigint as sync_time_us,
            sum(d.buffers_written)::bigint as buffers_written, count(*) as readings,
            count(*) filter (where d.fell) as falls,
            count(*) filter (where not d.fell and num_nonnulls(
                d.num_timed, d.num_requested, d.write_time_us, d.sync_time_us, d.buffers_written
            ) = 0) as unknown
        from delta.checkpointer(
            of_target, of_hour - interval '1 microsecond', of_hour + interval '1 hour' - interval '1 microsecond'
        ) as d
        group by d.target_id
    ), made as (
        insert into rollup.checkpointer
        select
            of_target, of_hour, num_timed, num_requested, write_time_us, sync_time_us, buffers_written, readings,
            coalesce(covered_us, 0), coalesce(resets, 0), unknown, falls
        from difference
        left join (select covered_us, resets from cover) as cover on true
        returning 1
    )
    select count(*) from made
$$;

create table rollup.wal (
    target_id bigint not null,
    hour timestamp with time zone not null,
    wal_records bigint,
    wal_fpi bigint,
    wal_bytes bigint,
    wal_buffers_full bigint,
    readings bigint,
    covered_us bigint,
    resets bigint,
    unknown bigint,
    falls bigint
) partition by range (hour);
create index on rollup.wal (target_id, hour);
create function rollup.make_wal(of_target bigint, of_hour timestamptz) returns bigint
language sql as $$
    delete from rollup.wal where target_id = of_target and hour = of_hour;
    with frame as materialized (
        select f.*,
            min(f.n) filter (where f.mode = 'full') over (
                partition by f.datid order by f.n rows between 1 following and unbounded following
            ) as full_n,
            min(f.n) filter (where f.collected_at >= of_hour) over (partition by f.datid) as first_n,
            max(f.n) over (partition by f.datid) as last_n
        from (
            select f.datid, f.collected_at, f.mode, row_number() over w as n,
                case when f.epoch = lag(f.epoch) over w then f.collected_at - lag(f.collected_at) over w end as covers,
                f.epoch <> lag(f.epoch) over w as resets
            from store.frame f
            where f.target_id = of_target and f.metric = 'wal'
                and f.batch_at >= of_hour - interval '3 hours' and f.batch_at < of_hour + interval '2 hours'
                and f.collected_at >= of_hour - interval '3 hours' and f.collected_at < of_hour + interval '1 hour'
            window w as (partition by f.datid order by f.collected_at)
        ) as f
    ), cover as (
        select datid, (sum(extract(epoch from covers)) * 1000000)::bigint as covered_us,
            count(*) filter (where resets) as resets
        from frame
        where collected_at >= of_hour
        group by datid
    ), difference as (
        select
            d.target_id, sum(d.wal_records)::bigint as wal_records, sum(d.wal_fpi)::bigint as wal_fpi,
            sum(d.wal_bytes)::bigint as wal_bytes, sum(d.wal_buffers_full)::bigint as wal_buffers_full,
            count(*) as readings, count(*) filter (where d.fell) as falls,
            count(*) filter (where not d.fell and num_nonnulls(
                d.wal_records, d.wal_fpi, d.wal_bytes, d.wal_buffers_full
            ) = 0) as unknown
        from delta.wal(
            of_target, of_hour - interval '1 microsecond', of_hour + interval '1 hour' - interval '1 microsecond'
        ) as d
        group by d.target_id
    ), made as (
        insert into rollup.wal
        select
            of_target, of_hour, wal_records, wal_fpi, wal_bytes, wal_buffers_full, readings,
            coalesce(covered_us, 0), coalesce(resets, 0), unknown, falls
        from difference
        left join (select covered_us, resets from cover) as cover on true
        returning 1
    )
    select count(*) from made
$$;

create table rollup.io (
    target_id bigint not null,
    hour timestamp with time zone not null,
    backend_type text,
    object text,
    context text,
    reads bigint,
    read_bytes bigint,
    read_time_us bigint,
    writes bigint,
    write_bytes bigint,
    write_time_us bigint,
    extends bigint,
    extend_bytes bigint,
    hits bigint,
    evictions bigint,
    fsyncs bigint,
    fsync_time_us bigint,
    readings bigint,
    covered_us bigint,
    resets bigint,
    unknown bigint,
    falls bigint
) partition by range (hour);
create index on rollup.io (target_id, hour);
create function rollup.make_io(of_target bigint, of_hour timestamptz) returns bigint
language sql as $$
    delete from rollup.io where target_id = of_target and hour = of_hour;
    with frame as materialized (
        select f.*,
            min(f.n) filter (where f.mode = 'full') over (
                partition by f.datid order by f.n rows between 1 following and unbounded following
            ) as full_n,
            min(f.n) filter (where f.collected_at >= of_hour) over (partition by f.datid) as first_n,
            max(f.n) over (partition by f.datid) as last_n
        from (
            select f.datid, f.collected_at, f.mode, row_number() over w as n,
                case when f.epoch = lag(f.epoch) over w then f.collected_at - lag(f.collected_at) over w end as covers,
                f.epoch <> lag(f.epoch) over w as resets
            from store.frame f
            where f.target_id = of_target and f.metric = 'io'
                and f.batch_at >= of_hour - interval '3 hours' and f.batch_at < of_hour + interval '2 hours'
                and f.collected_at >= of_hour - interval '3 hours' and f.collected_at < of_hour + interval '1 hour'
            window w as (partition by f.datid order by f.collected_at)
        ) as f
    ), cover as (
        select datid, (sum(extract(epoch from covers)) * 1000000)::bigint as covered_us,
            count(*) filter (where resets) as resets
        from frame
        where collected_at >= of_hour
        group by datid
    ), difference as (
        select
            d.target_id, d.backend_type, d.object, d.context, sum(d.reads)::bigint as reads,
            sum(d.read_bytes)::bigint as read_bytes, sum(d.read_time_us)::bigint as read_time_us,
            sum(d.writes)::bigint as writes, sum(d.write_bytes)::bigint as write_bytes,
            sum(d.write_time_us)::bigint as write_time_us, sum(d.extends)::bigint as extends,
            sum(d.extend_bytes)::bigint as extend_bytes, sum(d.hits)::bigint as hits,
            sum(d.evictions)::bigint as evictions, sum(d.fsyncs)::bigint as fsyncs,
            sum(d.fsync_time_us)::bigint as fsync_time_us, count(*) as readings,
            count(*) filter (where d.fell) as falls,
            count(*) filter (where not d.fell and num_nonnulls(
                d.reads, d.read_bytes, d.read_time_us, d.writes, d.write_bytes, d.write_time_us, d.extends,
                d.extend_bytes, d.hits, d.evictions, d.fsyncs, d.fsync_time_us
            ) = 0) as unknown
        from delta.io(
            of_target, of_hour - interval '1 microsecond', of_hour + interval '1 hour' - interval '1 microsecond'
        ) as d
        group by d.target_id, d.backend_type, d.object, d.context
    ), made as (
        insert into rollup.io
        select
            of_target, of_hour, backend_type, object, context, reads, read_bytes, read_time_us, writes,
            write_bytes, write_time_us, extends, extend_bytes, hits, evictions, fsyncs, fsync_time_us, readings,
            coalesce(covered_us, 0), coalesce(resets, 0), unknown, falls
        from difference
        left join (select covered_us, resets from cover) as cover on true
        returning 1
    )
    select count(*) from made
$$;

create table rollup.database_size (
    target_id bigint not null,
    hour timestamp with time zone not null,
    datid oid,
    size_bytes_avg double precision,
    size_bytes_min bigint,
    size_bytes_max bigint,
    size_bytes_last bigint,
    samples bigint
) partition by range (hour);
create index on rollup.database_size (target_id, hour);
create function rollup.make_database_size(of_target bigint, of_hour timestamptz) returns bigint
language sql as $$
    delete from rollup.database_size where target_id = of_target and hour = of_hour;
    with value as (
        select
            m.target_id, m.datid, avg(m.size_bytes)::float8 as size_bytes_avg,
            min(m.size_bytes) as size_bytes_min, max(m.size_bytes) as size_bytes_max,
            (array_agg(m.size_bytes order by m.collected_at desc))[1] as size_bytes_last, count(*) as samples
        from metric.database_size m
        where m.target_id = of_target and m.collected_at >= of_hour and m.collected_at < of_hour + interval '1 hour'
        group by m.target_id, m.datid
    ), made as (
        insert into rollup.database_size
        select
            of_target, of_hour, datid, size_bytes_avg, size_bytes_min, size_bytes_max, size_bytes_last, samples
        from value
        returning 1
    )
    select count(*) from made
$$;

create table rollup.xid_age (
    target_id bigint not null,
    hour timestamp with time zone not null,
    datid oid,
    datfrozenxid_age_avg double precision,
    datfrozenxid_age_min bigint,
    datfrozenxid_age_max bigint,
    datfrozenxid_age_last bigint,
    datminmxid_age_avg double precision,
    datminmxid_age_min bigint,
    datminmxid_age_max bigint,
    datminmxid_age_last bigint,
    samples bigint
) partition by range (hour);
create index on rollup.xid_age (target_id, hour);
create function rollup.make_xid_age(of_target bigint, of_hour timestamptz) returns bigint
language sql as $$
    delete from rollup.xid_age where target_id = of_target and hour = of_hour;
    with value as (
        select
            m.target_id, m.datid, avg(m.datfrozenxid_age)::float8 as datfrozenxid_age_avg,
            min(m.datfrozenxid_age) as datfrozenxid_age_min, max(m.datfrozenxid_age) as datfrozenxid_age_max,
            (array_agg(m.datfrozenxid_age order by m.collected_at desc))[1] as datfrozenxid_age_last,
            avg(m.datminmxid_age)::float8 as datminmxid_age_avg, min(m.datminmxid_age) as datminmxid_age_min,
            max(m.datminmxid_age) as datminmxid_age_max,
            (array_agg(m.datminmxid_age order by m.collected_at desc))[1] as datminmxid_age_last,
            count(*) as samples
        from metric.xid_age m
        where m.target_id = of_target and m.collected_at >= of_hour and m.collected_at < of_hour + interval '1 hour'
        group by m.target_id, m.datid
    ), made as (
        insert into rollup.xid_age
        select
            of_target, of_hour, datid, datfrozenxid_age_avg, datfrozenxid_age_min, datfrozenxid_age_max,
            datfrozenxid_age_last, datminmxid_age_avg, datminmxid_age_min, datminmxid_age_max,
            datminmxid_age_last, samples
        from value
        returning 1
    )
    select count(*) from made
$$;

create table rollup.relation_size (
    target_id bigint not null,
    hour timestamp with time zone not null,
    datid oid,
    relid oid,
    size_bytes_avg double precision,
    size_bytes_min bigint,
    size_bytes_max bigint,
    size_bytes_last bigint,
    indexes_bytes_avg double precision,
    indexes_bytes_min bigint,
    indexes_bytes_max bigint,
    indexes_bytes_last bigint,
    total_bytes_avg double precision,
    total_bytes_min bigint,
    total_bytes_max bigint,
    total_bytes_last bigint,
    estimated_rows_avg double precision,
    estimated_rows_min bigint,
    estimated_rows_max bigint,
    estimated_rows_last bigint,
    samples bigint
) partition by range (hour);
create index on rollup.relation_size (target_id, hour);
create function rollup.make_relation_size(of_target bigint, of_hour timestamptz) returns bigint
language sql as $$
    delete from rollup.relation_size where target_id = of_target and hour = of_hour;
    with frame as materialized (
        select f.*,
            min(f.n) filter (where f.mode = 'full') over (
                partition by f.datid order by f.n rows between 1 following and unbounded following
            ) as full_n,
            min(f.n) filter (where f.collected_at >= of_hour) over (partition by f.datid) as first_n,
            max(f.n) over (partition by f.datid) as last_n
        from (
            select f.datid, f.collected_at, f.mode, row_number() over w as n,
                case when f.epoch = lag(f.epoch) over w then f.collected_at - lag(f.collected_at) over w end as covers,
                f.epoch <> lag(f.epoch) over w as resets
            from store.frame f
            where f.target_id = of_target and f.metric = 'relation_size'
                and f.batch_at >= of_hour - interval '3 hours' and f.batch_at < of_hour + interval '2 hours'
                and f.collected_at >= of_hour - interval '3 hours' and f.collected_at < of_hour + interval '1 hour'
            window w as (partition by f.datid order by f.collected_at)
        ) as f
    ), value as (
        select
            m.target_id, m.datid, m.relid,
            sum(m.size_bytes::float8 * m.times) / sum(m.times) filter (where m.size_bytes is not null) as size_bytes_avg,
            min(m.size_bytes) as size_bytes_min, max(m.size_bytes) as size_bytes_max,
            (array_agg(m.size_bytes order by m.collected_at desc))[1] as size_bytes_last,
            sum(m.indexes_bytes::float8 * m.times) / sum(m.times) filter (where m.indexes_bytes is not null) as indexes_bytes_avg,
            min(m.indexes_bytes) as indexes_bytes_min, max(m.indexes_bytes) as indexes_bytes_max,
            (array_agg(m.indexes_bytes order by m.collected_at desc))[1] as indexes_bytes_last,
            sum(m.total_bytes::float8 * m.times) / sum(m.times) filter (where m.total_bytes is not null) as total_bytes_avg,
            min(m.total_bytes) as total_bytes_min, max(m.total_bytes) as total_bytes_max,
            (array_agg(m.total_bytes order by m.collected_at desc))[1] as total_bytes_last,
            sum(m.estimated_rows::float8 * m.times) / sum(m.times) filter (where m.estimated_rows is not null) as estimated_rows_avg,
            min(m.estimated_rows) as estimated_rows_min, max(m.estimated_rows) as estimated_rows_max,
            (array_agg(m.estimated_rows order by m.collected_at desc))[1] as estimated_rows_last,
            sum(m.times)::bigint as samples
        from (
            -- A row stands, unread, for the readings until the next row of its key, or the next reading of every row.
            select m.*, least(lead(f.n) over (partition by m.target_id, m.datid, m.relid order by f.n), f.full_n, f.last_n + 1)
                - greatest(f.n, f.first_n) as times
            from metric.relation_size m
            join frame f on f.collected_at = m.collected_at and f.datid = m.datid
            where m.target_id = of_target and m.collected_at >= of_hour - interval '3 hours' and m.collected_at < of_hour + interval '1 hour'
        ) as m
        where m.times > 0 and not m.gone
        group by m.target_id, m.datid, m.relid
        having max(m.collected_at) >= of_hour
    ), made as (
        insert into rollup.relation_size
        select
            of_target, of_hour, datid, relid, size_bytes_avg, size_bytes_min, size_bytes_max, size_bytes_last,
            indexes_bytes_avg, indexes_bytes_min, indexes_bytes_max, indexes_bytes_last, total_bytes_avg,
            total_bytes_min, total_bytes_max, total_bytes_last, estimated_rows_avg, estimated_rows_min,
            estimated_rows_max, estimated_rows_last, samples
        from value
        returning 1
    )
    select count(*) from made
$$;

create table rollup.activity (
    target_id bigint not null,
    hour timestamp with time zone not null,
    datid oid,
    state text,
    wait_event_type text,
    sessions_avg double precision,
    sessions_min bigint,
    sessions_max bigint,
    sessions_last bigint,
    samples bigint
) partition by range (hour);
create index on rollup.activity (target_id, hour);
create function rollup.make_activity(of_target bigint, of_hour timestamptz) returns bigint
language sql as $$
    delete from rollup.activity where target_id = of_target and hour = of_hour;
    with reading as (
        select distinct f.collected_at
        from store.frame f
        where f.target_id = of_target and f.metric = 'activity'
            and f.batch_at >= of_hour and f.batch_at < of_hour + interval '2 hours'
            and f.collected_at >= of_hour and f.collected_at < of_hour + interval '1 hour'
    ), summed as (
        select m.collected_at, datid, state, wait_event_type, sum(m.sessions)::bigint as sessions
        from metric.activity m
        where m.target_id = of_target and m.collected_at >= of_hour and m.collected_at < of_hour + interval '1 hour'
        group by m.collected_at, datid, state, wait_event_type
    ), value as (
        select
            k.datid, k.state, k.wait_event_type, avg(coalesce(s.sessions, 0))::float8 as sessions_avg,
            min(coalesce(s.sessions, 0)) as sessions_min, max(coalesce(s.sessions, 0)) as sessions_max,
            (array_agg(coalesce(s.sessions, 0) order by r.collected_at desc))[1] as sessions_last,
            count(*) as samples
        from (select distinct datid, state, wait_event_type from summed) as k
        cross join reading r
        left join summed s on s.collected_at = r.collected_at and s.datid is not distinct from k.datid and s.state is not distinct from k.state and s.wait_event_type is not distinct from k.wait_event_type
        group by k.datid, k.state, k.wait_event_type
    ), made as (
        insert into rollup.activity
        select
            of_target, of_hour, datid, state, wait_event_type, sessions_avg, sessions_min, sessions_max,
            sessions_last, samples
        from value
        returning 1
    )
    select count(*) from made
$$;

create table rollup.agent_health (
    target_id bigint not null,
    hour timestamp with time zone not null,
    cpu_us bigint,
    spooled_bytes bigint,
    dropped_batches bigint,
    sent_bytes bigint,
    readings bigint,
    covered_us bigint,
    resets bigint,
    unknown bigint,
    falls bigint,
    rss_bytes_avg double precision,
    rss_bytes_min bigint,
    rss_bytes_max bigint,
    rss_bytes_last bigint,
    spool_batches_avg double precision,
    spool_batches_min bigint,
    spool_batches_max bigint,
    spool_batches_last bigint,
    spool_bytes_avg double precision,
    spool_bytes_min bigint,
    spool_bytes_max bigint,
    spool_bytes_last bigint,
    samples bigint
) partition by range (hour);
create index on rollup.agent_health (target_id, hour);
create function rollup.make_agent_health(of_target bigint, of_hour timestamptz) returns bigint
language sql as $$
    delete from rollup.agent_health where target_id = of_target and hour = of_hour;
    with frame as materialized (
        select f.*,
            min(f.n) filter (where f.mode = 'full') over (
                partition by f.datid order by f.n rows between 1 following and unbounded following
            ) as full_n,
            min(f.n) filter (where f.collected_at >= of_hour) over (partition by f.datid) as first_n,
            max(f.n) over (partition by f.datid) as last_n
        from (
            select f.datid, f.collected_at, f.mode, row_number() over w as n,
                case when f.epoch = lag(f.epoch) over w then f.collected_at - lag(f.collected_at) over w end as covers,
                f.epoch <> lag(f.epoch) over w as resets
            from store.frame f
            where f.target_id = of_target and f.metric = 'agent_health'
                and f.batch_at >= of_hour - interval '3 hours' and f.batch_at < of_hour + interval '2 hours'
                and f.collected_at >= of_hour - interval '3 hours' and f.collected_at < of_hour + interval '1 hour'
            window w as (partition by f.datid order by f.collected_at)
        ) as f
    ), cover as (
        select datid, (sum(extract(epoch from covers)) * 1000000)::bigint as covered_us,
            count(*) filter (where resets) as resets
        from frame
        where collected_at >= of_hour
        group by datid
    ), difference as (
        select
            d.target_id, sum(d.cpu_us)::bigint as cpu_us, sum(d.spooled_bytes)::bigint as spooled_bytes,
            sum(d.dropped_batches)::bigint as dropped_batches, sum(d.sent_bytes)::bigint as sent_bytes,
            count(*) as readings, count(*) filter (where d.fell) as falls,
            count(*) filter (where not d.fell and num_nonnulls(
                d.cpu_us, d.spooled_bytes, d.dropped_batches, d.sent_bytes
            ) = 0) as unknown
        from delta.agent_health(
            of_target, of_hour - interval '1 microsecond', of_hour + interval '1 hour' - interval '1 microsecond'
        ) as d
        group by d.target_id
    ), value as (
        select
            m.target_id, avg(m.rss_bytes)::float8 as rss_bytes_avg, min(m.rss_bytes) as rss_bytes_min,
            max(m.rss_bytes) as rss_bytes_max,
            (array_agg(m.rss_bytes order by m.collected_at desc))[1] as rss_bytes_last,
            avg(m.spool_batches)::float8 as spool_batches_avg, min(m.spool_batches) as spool_batches_min,
            max(m.spool_batches) as spool_batches_max,
            (array_agg(m.spool_batches order by m.collected_at desc))[1] as spool_batches_last,
            avg(m.spool_bytes)::float8 as spool_bytes_avg, min(m.spool_bytes) as spool_bytes_min,
            max(m.spool_bytes) as spool_bytes_max,
            (array_agg(m.spool_bytes order by m.collected_at desc))[1] as spool_bytes_last, count(*) as samples
        from metric.agent_health m
        where m.target_id = of_target and m.collected_at >= of_hour and m.collected_at < of_hour + interval '1 hour'
        group by m.target_id
    ), made as (
        insert into rollup.agent_health
        select
            of_target, of_hour, cpu_us, spooled_bytes, dropped_batches, sent_bytes, readings,
            coalesce(covered_us, 0), coalesce(resets, 0), unknown, falls, rss_bytes_avg, rss_bytes_min,
            rss_bytes_max, rss_bytes_last, spool_batches_avg, spool_batches_min, spool_batches_max,
            spool_batches_last, spool_bytes_avg, spool_bytes_min, spool_bytes_max, spool_bytes_last, samples
        from difference join value using (target_id)
        left join (select covered_us, resets from cover) as cover on true
        returning 1
    )
    select count(*) from made
$$;
