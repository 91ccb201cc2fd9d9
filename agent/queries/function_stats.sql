-- Executions of functions; times in whole microseconds. Those written in C for the server itself are not counted.
-- Privileges: none. Cost: some 2 ms for 3,500 functions.
-- Parameter: at_most.
copy (
    select
        p.oid,
        pg_catalog.pg_stat_get_function_calls(p.oid),
        (pg_catalog.pg_stat_get_function_total_time(p.oid) * 1000)::bigint,
        (pg_catalog.pg_stat_get_function_self_time(p.oid) * 1000)::bigint
    from pg_catalog.pg_proc p
    where p.prolang <> 12::oid and pg_catalog.pg_stat_get_function_calls(p.oid) is not null
    order by pg_catalog.pg_stat_get_function_self_time(p.oid) desc, p.oid
    limit %(at_most)s
) to stdout;
