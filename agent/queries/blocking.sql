-- Who waits for whose lock. pg_blocking_pids counts those too that wait ahead in the queue, so n waiting sessions can be
-- n * n / 2 rows: where there are too many, those who wait for nobody themselves stay, they are the roots of the tree.
-- Privileges: pg_read_all_stats (in pg_monitor). Cost: some 0.1 ms while nobody waits, 16 ms for 100 that do, 90 for 400.
-- Without that privilege ages, states and statements of other roles' sessions are null, and so is blocked_backend_type,
-- which is how such rows are told. While nobody waits the locks are not looked at: 100,000 of them are 50 ms.
-- Parameter: at_most.
with lock as materialized (
    -- What is waited for, what prepared transactions hold, and the rows that somebody is next to lock.
    select *
    from pg_catalog.pg_locks
    where (not granted or pid is null or locktype = 'tuple')
        and exists (
            select
            from pg_catalog.pg_stat_activity
            where wait_event_type = 'Lock' or backend_start is null
        )
),
waiting as materialized (
    select *
    from lock
    where not granted
    order by waitstart
    limit %(at_most)s
),
edge as materialized (
    -- Cut before it is joined: of 400 sessions that wait for one lock there are 80,000.
    select w.pid, b.pid as blocking_pid
    from waiting w
    cross join lateral (
        select distinct pid from pg_catalog.unnest(pg_catalog.pg_blocking_pids(w.pid)) as blocking (pid)
    ) as b
    order by b.pid in (select pid from waiting), w.waitstart
    limit %(at_most)s
)
select
    e.pid,
    e.blocking_pid,
    w.locktype,
    w.mode,
    blocked.datid,
    coalesce(w.relation, held.relation),
    (extract(epoch from pg_catalog.clock_timestamp() - w.waitstart) * 1000000)::bigint,
    (extract(epoch from pg_catalog.clock_timestamp() - blocked.xact_start) * 1000000)::bigint,
    (
        extract(epoch from pg_catalog.clock_timestamp() - coalesce(blocking.xact_start, prepared.prepared)) * 1000000
    )::bigint,
    (extract(epoch from pg_catalog.clock_timestamp() - blocking.state_change) * 1000000)::bigint,
    blocked.query_id,
    blocking.query_id,
    blocked.state,
    blocking.state,
    blocking.wait_event_type,
    blocking.wait_event,
    blocked.usename,
    blocking.usename,
    pg_catalog.left(blocked.application_name, 64),
    pg_catalog.left(blocking.application_name, 64),
    case when blocked.backend_start is not null then coalesce(blocked.backend_type, 'background worker') end
from edge e
join waiting w on w.pid = e.pid
join pg_catalog.pg_stat_activity blocked on blocked.pid = e.pid
left join pg_catalog.pg_stat_activity blocking on blocking.pid = e.blocking_pid
left join lateral (
    -- Who waits for another's change of a row holds that row's own lock meanwhile: it tells the table.
    select t.relation
    from lock t
    where t.pid = e.pid and t.granted and t.locktype = 'tuple'
    limit 1
) as held on w.relation is null
left join lateral (
    -- It is known by the lock that it has on itself.
    select pg_catalog.min(x.prepared) as prepared
    from lock p
    join lock itself on itself.pid is null and itself.virtualtransaction = p.virtualtransaction
    join pg_catalog.pg_prepared_xacts x on x.transaction = itself.transactionid
    where p.pid is null
        and (p.locktype, p.database, p.relation, p.page, p.tuple, p.transactionid, p.classid, p.objid, p.objsubid)
            is not distinct from
            (w.locktype, w.database, w.relation, w.page, w.tuple, w.transactionid, w.classid, w.objid, w.objsubid)
) as prepared on e.blocking_pid = 0;
