-- How many relations have their bloat estimated: tables, materialized views and B-tree indexes.
-- Privileges: none. Cost: a scan of pg_class.
select pg_catalog.count(*)
from pg_catalog.pg_class c
where c.oid >= 16384::oid
    and (c.relkind in ('r', 'm') or c.relkind = 'i' and c.relam = 403::oid)
    and c.relpersistence <> 't'
    and c.relnamespace <> 99::oid;
