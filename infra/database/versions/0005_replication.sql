-- Every WAL sender and how far its receiver lags behind (pg_stat_replication).
create table metric.replication (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    pid bigint not null,
    usename text,
    application_name text,
    client_addr text,
    state text,
    sync_state text,
    sync_priority bigint,
    current_lsn bigint,
    sent_lag_bytes bigint,
    write_lag_bytes bigint,
    flush_lag_bytes bigint,
    replay_lag_bytes bigint,
    write_lag_us bigint,
    flush_lag_us bigint,
    replay_lag_us bigint,
    xmin_age bigint,
    backend_start_at timestamp with time zone,
    reply_at timestamp with time zone
) partition by range (collected_at);
create index on metric.replication (target_id, collected_at);

-- Every replication slot, what it holds back and what it decoded (pg_replication_slots and their statistics).
create table metric.replication_slot (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    epoch bigint not null,
    slot_name text not null,
    slot_type text,
    plugin text,
    datid oid,
    temporary boolean,
    active boolean,
    active_pid bigint,
    xmin_age bigint,
    catalog_xmin_age bigint,
    restart_lsn bigint,
    confirmed_flush_lsn bigint,
    retained_wal_bytes bigint,
    confirmed_lag_bytes bigint,
    wal_status text,
    safe_wal_bytes bigint,
    two_phase boolean,
    conflicting boolean,
    invalidation_reason text,
    failover boolean,
    synced boolean,
    inactive_since_at timestamp with time zone,
    spill_txns bigint,
    spill_count bigint,
    spill_bytes bigint,
    stream_txns bigint,
    stream_count bigint,
    stream_bytes bigint,
    total_txns bigint,
    total_bytes bigint,
    stats_reset_at timestamp with time zone
) partition by range (collected_at);
create index on metric.replication_slot (target_id, collected_at);
create function delta.replication_slot(
    of_target bigint, from_at timestamptz, until_at timestamptz, lookback interval default '3 hours'
) returns table (
    target_id bigint, collected_at timestamptz, since_at timestamptz, fell boolean, slot_name text,
    slot_type text, plugin text, datid oid, temporary boolean, active boolean, active_pid bigint,
    xmin_age bigint, catalog_xmin_age bigint, restart_lsn bigint, confirmed_flush_lsn bigint,
    retained_wal_bytes bigint, confirmed_lag_bytes bigint, wal_status text, safe_wal_bytes bigint,
    two_phase boolean, conflicting boolean, invalidation_reason text, failover boolean, synced boolean,
    inactive_since_at timestamp with time zone, spill_txns bigint, spill_count bigint,
    spill_bytes bigint, stream_txns bigint, stream_count bigint, stream_bytes bigint, total_txns bigint,
    total_bytes bigint, stats_reset_at timestamp with time zone
) language sql stable as $$
    select
        m.target_id, m.collected_at, f.since_at, coalesce(fell, false), m.slot_name, m.slot_type, m.plugin,
        m.datid, m.temporary, m.active, m.active_pid, m.xmin_age, m.catalog_xmin_age, m.restart_lsn,
        m.confirmed_flush_lsn, m.retained_wal_bytes, m.confirmed_lag_bytes, m.wal_status, m.safe_wal_bytes,
        m.two_phase, m.conflicting, m.invalidation_reason, m.failover, m.synced, m.inactive_since_at,
        case when not fell then m.spill_txns - (p).spill_txns end,
        case when not fell then m.spill_count - (p).spill_count end,
        case when not fell then m.spill_bytes - (p).spill_bytes end,
        case when not fell then m.stream_txns - (p).stream_txns end,
        case when not fell then m.stream_count - (p).stream_count end,
        case when not fell then m.stream_bytes - (p).stream_bytes end,
        case when not fell then m.total_txns - (p).total_txns end,
        case when not fell then m.total_bytes - (p).total_bytes end, m.stats_reset_at
    from (
        select m, lag(m) over (partition by m.target_id, m.slot_name order by m.collected_at) as p
        from metric.replication_slot m
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
        where f.target_id = of_target and f.metric = 'replication_slot'
            and f.batch_at > from_at - lookback and f.batch_at <= until_at + interval '1 hour'
            and f.collected_at > from_at - lookback and f.collected_at <= until_at
    ) as f on f.collected_at = m.collected_at
    cross join lateral (
        select case
            when m.epoch = (p).epoch
                and (p).collected_at >= coalesce(f.full_at, '-infinity')
                and m.stats_reset_at is not distinct from (p).stats_reset_at
            then coalesce(least(m.spill_txns - (p).spill_txns, m.spill_count - (p).spill_count, m.spill_bytes - (p).spill_bytes,
                m.stream_txns - (p).stream_txns, m.stream_count - (p).stream_count,
                m.stream_bytes - (p).stream_bytes, m.total_txns - (p).total_txns, m.total_bytes - (p).total_bytes) < 0, false)
        end as fell  -- null where the row before is of another epoch, or is none
    ) as compared
    where m.collected_at > from_at
$$;
create view delta.replication_slot as
    select d.*
    from store.target t
    cross join lateral delta.replication_slot(t.target_id, '-infinity', 'infinity') as d;

-- What a standby receives and replays (pg_stat_wal_receiver, functions of recovery); no row on a primary.
create table metric.wal_receiver (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    pid bigint,
    status text,
    slot_name text,
    sender_host text,
    sender_port bigint,
    received_tli bigint,
    written_lsn bigint,
    received_lsn bigint,
    latest_end_lsn bigint,
    replay_lsn bigint,
    receive_lag_bytes bigint,
    replay_lag_bytes bigint,
    replay_lag_us bigint,
    replay_pause_state text,
    latest_end_at timestamp with time zone,
    last_msg_send_at timestamp with time zone,
    last_msg_receipt_at timestamp with time zone,
    last_xact_replay_at timestamp with time zone
) partition by range (collected_at);
create index on metric.wal_receiver (target_id, collected_at);

-- Every subscription, its workers and what failed (pg_stat_subscription, pg_stat_subscription_stats).
create table metric.subscription (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    epoch bigint not null,
    subid oid not null,
    subname text,
    datid oid,
    enabled boolean,
    pid bigint,
    sync_workers bigint,
    parallel_workers bigint,
    received_lsn bigint,
    latest_end_lsn bigint,
    latest_end_at timestamp with time zone,
    last_msg_send_at timestamp with time zone,
    last_msg_receipt_at timestamp with time zone,
    apply_error_count bigint,
    sync_error_count bigint,
    confl_insert_exists bigint,
    confl_update_origin_differs bigint,
    confl_update_exists bigint,
    confl_update_missing bigint,
    confl_delete_origin_differs bigint,
    confl_delete_missing bigint,
    confl_multiple_unique_conflicts bigint,
    stats_reset_at timestamp with time zone
) partition by range (collected_at);
create index on metric.subscription (target_id, collected_at);
create function delta.subscription(
    of_target bigint, from_at timestamptz, until_at timestamptz, lookback interval default '3 hours'
) returns table (
    target_id bigint, collected_at timestamptz, since_at timestamptz, fell boolean, subid oid,
    subname text, datid oid, enabled boolean, pid bigint, sync_workers bigint, parallel_workers bigint,
    received_lsn bigint, latest_end_lsn bigint, latest_end_at timestamp with time zone,
    last_msg_send_at timestamp with time zone, last_msg_receipt_at timestamp with time zone,
    apply_error_count bigint, sync_error_count bigint, confl_insert_exists bigint,
    confl_update_origin_differs bigint, confl_update_exists bigint, confl_update_missing bigint,
    confl_delete_origin_differs bigint, confl_delete_missing bigint,
    confl_multiple_unique_conflicts bigint, stats_reset_at timestamp with time zone
) language sql stable as $$
    select
        m.target_id, m.collected_at, f.since_at, coalesce(fell, false), m.subid, m.subname, m.datid,
        m.enabled, m.pid, m.sync_workers, m.parallel_workers, m.received_lsn, m.latest_end_lsn,
        m.latest_end_at, m.last_msg_send_at, m.last_msg_receipt_at,
        case when not fell then m.apply_error_count - (p).apply_error_count end,
        case when not fell then m.sync_error_count - (p).sync_error_count end,
        case when not fell then m.confl_insert_exists - (p).confl_insert_exists end,
        case when not fell then m.confl_update_origin_differs - (p).confl_update_origin_differs end,
        case when not fell then m.confl_update_exists - (p).confl_update_exists end,
        case when not fell then m.confl_update_missing - (p).confl_update_missing end,
        case when not fell then m.confl_delete_origin_differs - (p).confl_delete_origin_differs end,
        case when not fell then m.confl_delete_missing - (p).confl_delete_missing end,
        case when not fell then m.confl_multiple_unique_conflicts - (p).confl_multiple_unique_conflicts end,
        m.stats_reset_at
    from (
        select m, lag(m) over (partition by m.target_id, m.subid order by m.collected_at) as p
        from metric.subscription m
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
        where f.target_id = of_target and f.metric = 'subscription'
            and f.batch_at > from_at - lookback and f.batch_at <= until_at + interval '1 hour'
            and f.collected_at > from_at - lookback and f.collected_at <= until_at
    ) as f on f.collected_at = m.collected_at
    cross join lateral (
        select case
            when m.epoch = (p).epoch
                and (p).collected_at >= coalesce(f.full_at, '-infinity')
                and m.stats_reset_at is not distinct from (p).stats_reset_at
            then coalesce(least(m.apply_error_count - (p).apply_error_count, m.sync_error_count - (p).sync_error_count,
                m.confl_insert_exists - (p).confl_insert_exists,
                m.confl_update_origin_differs - (p).confl_update_origin_differs,
                m.confl_update_exists - (p).confl_update_exists, m.confl_update_missing - (p).confl_update_missing,
                m.confl_delete_origin_differs - (p).confl_delete_origin_differs,
                m.confl_delete_missing - (p).confl_delete_missing,
                m.confl_multiple_unique_conflicts - (p).confl_multiple_unique_conflicts) < 0, false)
        end as fell  -- null where the row before is of another epoch, or is none
    ) as compared
    where m.collected_at > from_at
$$;
create view delta.subscription as
    select d.*
    from store.target t
    cross join lateral delta.subscription(t.target_id, '-infinity', 'infinity') as d;
