-- Activity of user indexes, by functions; those of TOAST tables (schema 99) left out.
-- Above the cap those of which most blocks were fetched stay.
-- Privileges: none. Cost: some 5 ms for 3,000 indexes.
-- Parameter: at_most.
copy (
    select
        c.oid,
        pg_catalog.pg_stat_get_numscans(c.oid),
        pg_catalog.pg_stat_get_lastscan(c.oid),
        pg_catalog.pg_stat_get_tuples_returned(c.oid),
        pg_catalog.pg_stat_get_tuples_fetched(c.oid),
        c.fetched - pg_catalog.pg_stat_get_blocks_hit(c.oid),
        pg_catalog.pg_stat_get_blocks_hit(c.oid)
    from (
        select i.oid, pg_catalog.pg_stat_get_blocks_fetched(i.oid) as fetched
        from pg_catalog.pg_class i
        where i.oid >= 16384::oid
            and i.relkind in ('i', 'I')
            and i.relpersistence <> 't'
            and i.relnamespace <> 99::oid
        order by fetched desc, i.oid
        limit %(at_most)s
    ) as c
) to stdout;
