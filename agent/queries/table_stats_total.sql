-- How many user tables and materialized views there are.
-- Privileges: none. Cost: a scan of pg_class.
select pg_catalog.count(*)
from pg_catalog.pg_class c
where c.oid >= 16384::oid and c.relkind in ('r', 'p', 'm') and c.relpersistence <> 't';
