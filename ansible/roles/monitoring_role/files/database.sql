-- The statements that a database still owes the role, a line each; carried out unless `apply` is off.
-- Variables: role, extension, read_sequences, apply.
with wanted as (
    select :'role'::name as role, (select oid from pg_catalog.pg_roles where rolname = :'role') as oid
), owed as (
    select 1 as step, 'create extension pg_stat_statements' as statement
    where :'extension'::bool
        and not exists (select from pg_catalog.pg_extension where extname = 'pg_stat_statements')
    union all
    -- 1.9 came with PostgreSQL 14; a server that was upgraded keeps what it had.
    select 1, 'alter extension pg_stat_statements update'
    from pg_catalog.pg_extension
    where :'extension'::bool
        and extname = 'pg_stat_statements'
        and pg_catalog.string_to_array(extversion, '.')::int[] < '{1,9}'
    union all
    select 2, pg_catalog.format('grant usage on schema %I to %I', n.nspname, w.role)
    from wanted w
    cross join pg_catalog.pg_extension e
    join pg_catalog.pg_namespace n on n.oid = e.extnamespace
    where :'extension'::bool
        and e.extname = 'pg_stat_statements'
        and not coalesce(
            pg_catalog.has_schema_privilege(w.oid, n.oid, 'USAGE'),
            pg_catalog.has_schema_privilege('pg_monitor', n.oid, 'USAGE')
        )
    union all
    select distinct 3, pg_catalog.format('grant select on all sequences in schema %I to %I', n.nspname, w.role)
    from wanted w
    cross join pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where :'read_sequences'::bool
        and c.relkind = 'S'
        and c.relpersistence <> 't'
        and not coalesce(
            pg_catalog.has_sequence_privilege(w.oid, c.oid, 'SELECT,USAGE'),
            pg_catalog.has_sequence_privilege('pg_monitor', c.oid, 'SELECT,USAGE')
        )
)
select statement from owed order by step, statement
\g
\if :apply
\gexec
\endif
