-- Names of the functions that have statistics.
-- Privileges: none. Cost: some 2 ms for 3,500 functions.
copy (
    select
        p.oid,
        n.nspname,
        p.proname,
        pg_catalog.pg_get_function_identity_arguments(p.oid),
        p.prokind,
        l.lanname,
        pg_catalog.pg_get_userbyid(p.proowner)
    from pg_catalog.pg_proc p
    join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    join pg_catalog.pg_language l on l.oid = p.prolang
    where p.prolang <> 12::oid and pg_catalog.pg_stat_get_function_calls(p.oid) is not null
) to stdout;
