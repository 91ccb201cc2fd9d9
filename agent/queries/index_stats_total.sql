-- How many user indexes there are; those of TOAST tables (schema 99) left out.
-- Privileges: none. Cost: a scan of pg_class.
select pg_catalog.count(*)
from pg_catalog.pg_class c
where c.oid >= 16384::oid and c.relkind in ('i', 'I') and c.relpersistence <> 't' and c.relnamespace <> 99::oid;
