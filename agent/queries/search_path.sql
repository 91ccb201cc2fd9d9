-- Lets the rest of a transaction find an extension in its schema; pg_catalog comes first all the same.
-- Privileges: none. Cost: negligible.
-- Parameter: schema.
select pg_catalog.set_config('search_path', 'pg_catalog, ' || pg_catalog.quote_ident(%(schema)s), true);
