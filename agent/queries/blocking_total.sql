-- How many pairs of a waiting session and one that it waits for there are.
-- Privileges: none. Cost: a scan of pg_locks, and pg_blocking_pids for each session that waits.
select pg_catalog.count(*)
from (
    select distinct w.pid, b.pid
    from pg_catalog.pg_locks w
    cross join lateral pg_catalog.unnest(pg_catalog.pg_blocking_pids(w.pid)) as b (pid)
    where not w.granted
) as edge;
