-- Sessions by what they do (pg_stat_activity); the agent's own and idle background processes left out.
create table metric.activity (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    oldest_pid bigint not null,
    state text,
    wait_event_type text,
    wait_event text,
    datid oid,
    usesysid oid,
    usename text,
    application_name text,
    backend_type text,
    sessions bigint,
    oldest_xact_us bigint,
    oldest_query_us bigint,
    longest_in_state_us bigint,
    oldest_xmin_age bigint,
    oldest_query_id bigint,
    oldest_client_addr text
) partition by range (collected_at);
create index on metric.activity (target_id, collected_at);

-- Who waits for whose lock: one row for each pair, also of those that wait ahead (pg_locks, pg_blocking_pids).
create table metric.blocking (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    blocked_pid bigint not null,
    blocking_pid bigint not null,
    locktype text,
    mode text,
    datid oid,
    relid oid,
    waiting_us bigint,
    blocked_xact_us bigint,
    blocking_xact_us bigint,
    blocking_in_state_us bigint,
    blocked_query_id bigint,
    blocking_query_id bigint,
    blocked_state text,
    blocking_state text,
    blocking_wait_event_type text,
    blocking_wait_event text,
    blocked_usename text,
    blocking_usename text,
    blocked_application_name text,
    blocking_application_name text,
    blocked_backend_type text
) partition by range (collected_at);
create index on metric.blocking (target_id, collected_at);

-- How many locks are held and waited for, of each kind (pg_locks); the agent's own left out.
create table metric.lock_mode (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    datid oid not null,
    locktype text not null,
    mode text not null,
    granted boolean not null,
    locks bigint,
    fastpath bigint,
    longest_wait_us bigint
) partition by range (collected_at);
create index on metric.lock_mode (target_id, collected_at);

-- How far long commands have come (the views pg_stat_progress_*); a null is what the command does not count.
create table metric.progress (
    target_id bigint not null,
    collected_at timestamp with time zone not null,
    pid bigint not null,
    command text,
    backend_type text,
    datid oid,
    relid oid,
    index_relid oid,
    phase text,
    running_us bigint,
    blocks_total bigint,
    blocks_done bigint,
    blocks_vacuumed bigint,
    tuples_total bigint,
    tuples_done bigint,
    tuples_written bigint,
    tuples_excluded bigint,
    tuples_skipped bigint,
    bytes_total bigint,
    bytes_done bigint,
    indexes_total bigint,
    indexes_done bigint,
    index_vacuum_count bigint,
    dead_tuples bigint,
    max_dead_tuples bigint,
    dead_tuple_bytes bigint,
    max_dead_tuple_bytes bigint,
    parts_total bigint,
    parts_done bigint,
    lockers_total bigint,
    lockers_done bigint,
    current_locker_pid bigint,
    delay_time_us bigint
) partition by range (collected_at);
create index on metric.progress (target_id, collected_at);
