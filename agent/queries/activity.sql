-- Sessions by what they do, the oldest of each group first: thousands of sessions are a few rows. Left out are the
-- agent's own, and background processes that wait in their main loop.
-- Privileges: pg_read_all_stats (in pg_monitor). Cost: some 0.1 ms, 4 ms for 500 sessions.
-- Without that privilege the states, waits and ages of other roles' sessions are null, and so is backend_type, which is
-- how such rows are told.
-- Parameter: at_most.
select
    pid,
    state,
    wait_event_type,
    wait_event,
    datid,
    usesysid,
    usename,
    application_name,
    backend_type,
    sessions,
    oldest_xact_us,
    case when state in ('active', 'fastpath function call') then oldest_query_us end,
    longest_in_state_us,
    oldest_xmin_age,
    query_id,
    pg_catalog.host(client_addr)
from (
    select
        *,
        pg_catalog.row_number() over (alike order by xact_start, query_start, backend_start, pid) as place,
        pg_catalog.count(*) over alike as sessions,
        pg_catalog.max(xact_us) over alike as oldest_xact_us,
        pg_catalog.max(query_us) over alike as oldest_query_us,
        pg_catalog.max(state_us) over alike as longest_in_state_us,
        pg_catalog.max(xmin_age) over alike as oldest_xmin_age
    from (
        select
            pid,
            state,
            wait_event_type,
            wait_event,
            datid,
            usesysid,
            usename,
            pg_catalog.left(application_name, 64) as application_name,
            -- A worker that is about to end has no kind any more.
            case when backend_start is not null then coalesce(backend_type, 'background worker') end as backend_type,
            xact_start,
            query_start,
            backend_start,
            query_id,
            client_addr,
            (extract(epoch from pg_catalog.clock_timestamp() - xact_start) * 1000000)::bigint as xact_us,
            (extract(epoch from pg_catalog.clock_timestamp() - query_start) * 1000000)::bigint as query_us,
            (extract(epoch from pg_catalog.clock_timestamp() - state_change) * 1000000)::bigint as state_us,
            pg_catalog.age(backend_xmin) as xmin_age
        from pg_catalog.pg_stat_activity
        where not (application_name = 'pganalytics-agent' and usename is not distinct from session_user)
            and not (wait_event_type is not distinct from 'Activity' and state is null)
    ) as session
    window alike as (
        partition by
            state, wait_event_type, wait_event, datid, usesysid, usename, application_name, backend_type
    )
) as ranked
where place = 1
-- Where there are too many, the idle go first and the oldest transactions stay.
order by state is not distinct from 'idle', oldest_xact_us desc nulls last, sessions desc
limit %(at_most)s;
