-- How many locks there are of each kind; those of the agent's own session left out.
-- Privileges: none. Cost: some 0.5 ms, 50 ms for 100,000 locks.
select
    coalesce(database, 0::oid),
    locktype,
    mode,
    granted,
    pg_catalog.count(*),
    pg_catalog.count(*) filter (where fastpath),
    (extract(epoch from pg_catalog.clock_timestamp() - pg_catalog.min(waitstart)) * 1000000)::bigint
from pg_catalog.pg_locks
where pid is distinct from pg_catalog.pg_backend_pid()
group by coalesce(database, 0::oid), locktype, mode, granted;
