-- Size of every database. A size that the role may not ask for is null: asking would fail the whole query.
-- A database that was dropped meanwhile has no privileges (null) and is left out.
-- Privileges: CONNECT on each, or pg_read_all_stats (in pg_monitor). Cost: one stat() a file: some 1 ms for 300.
copy (
    select
        oid,
        case
            when pg_catalog.has_database_privilege(oid, 'CONNECT')
                or pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')
                then pg_catalog.pg_database_size(oid)
        end
    from pg_catalog.pg_database
    where pg_catalog.has_database_privilege(oid, 'CONNECT') is not null
) to stdout;
