-- How many pairs of a waiting session and one that it waits for there are.
-- Privileges: none. Cost: a scan of pg_locks and pg_blocking_pids for each session that waits: 30 ms for 400 of them.
select coalesce(pg_catalog.sum(b.blocking), 0)
from pg_catalog.pg_locks w
cross join lateral (
    select pg_catalog.count(distinct pid) as blocking
    from pg_catalog.unnest(pg_catalog.pg_blocking_pids(w.pid)) as blocking (pid)
) as b
where not w.granted;
