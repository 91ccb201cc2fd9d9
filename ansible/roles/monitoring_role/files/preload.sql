-- The statement that adds a library to those of the next start, or nothing; carried out unless `apply` is off.
-- Variables: libraries (a JSON array), library, apply.
select pg_catalog.format(
    'alter system set shared_preload_libraries = %s',
    pg_catalog.string_agg(pg_catalog.quote_literal(name), ', ' order by place)
)
from (
    select name, place
    from pg_catalog.json_array_elements_text(:'libraries') with ordinality as there (name, place)
    where name <> ''
    union all
    select :'library', 1000000
) as wanted
\g
\if :apply
\gexec
\endif
