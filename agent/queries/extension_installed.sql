-- The version of an extension of this database; lets the rest of the transaction find it in its schema, after pg_catalog.
-- Privileges: none. Cost: negligible.
-- Parameter: name.
select
    e.extversion,
    pg_catalog.set_config('search_path', 'pg_catalog, ' || pg_catalog.quote_ident(n.nspname), true) as search_path
from pg_catalog.pg_extension e
join pg_catalog.pg_namespace n on n.oid = e.extnamespace
where e.extname = %(name)s;
