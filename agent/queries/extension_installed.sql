-- The version of an extension in this database, and the schema that it lives in.
-- Privileges: none. Cost: negligible.
-- Parameter: name.
select e.extversion, n.nspname
from pg_catalog.pg_extension e
join pg_catalog.pg_namespace n on n.oid = e.extnamespace
where e.extname = %(name)s;
