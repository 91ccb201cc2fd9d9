-- How many functions have statistics.
-- Privileges: none. Cost: some 2 ms for 3,500 functions.
select pg_catalog.count(*)
from pg_catalog.pg_proc p
where p.prolang <> 12::oid and pg_catalog.pg_stat_get_function_calls(p.oid) is not null;
