-- Activity of user tables and materialized views, by functions: a fraction of the view's cost, and no join of indexes.
-- Above the cap those of which most blocks were fetched stay.
-- Privileges: none. Cost: some 3 ms for 1,000 tables.
-- Parameter: at_most.
copy (
    select
        c.oid,
        pg_catalog.pg_stat_get_numscans(c.oid),
        null,
        pg_catalog.pg_stat_get_tuples_returned(c.oid),
        pg_catalog.pg_stat_get_tuples_fetched(c.oid),
        pg_catalog.pg_stat_get_tuples_inserted(c.oid),
        pg_catalog.pg_stat_get_tuples_updated(c.oid),
        pg_catalog.pg_stat_get_tuples_deleted(c.oid),
        pg_catalog.pg_stat_get_tuples_hot_updated(c.oid),
        null,
        pg_catalog.pg_stat_get_live_tuples(c.oid),
        pg_catalog.pg_stat_get_dead_tuples(c.oid),
        pg_catalog.pg_stat_get_mod_since_analyze(c.oid),
        pg_catalog.pg_stat_get_ins_since_vacuum(c.oid),
        pg_catalog.pg_stat_get_last_vacuum_time(c.oid),
        pg_catalog.pg_stat_get_last_autovacuum_time(c.oid),
        pg_catalog.pg_stat_get_last_analyze_time(c.oid),
        pg_catalog.pg_stat_get_last_autoanalyze_time(c.oid),
        pg_catalog.pg_stat_get_vacuum_count(c.oid),
        pg_catalog.pg_stat_get_autovacuum_count(c.oid),
        pg_catalog.pg_stat_get_analyze_count(c.oid),
        pg_catalog.pg_stat_get_autoanalyze_count(c.oid),
        null,
        null,
        null,
        null,
        c.fetched - pg_catalog.pg_stat_get_blocks_hit(c.oid),
        pg_catalog.pg_stat_get_blocks_hit(c.oid),
        pg_catalog.pg_stat_get_blocks_fetched(nullif(c.reltoastrelid, 0))
            - pg_catalog.pg_stat_get_blocks_hit(nullif(c.reltoastrelid, 0)),
        pg_catalog.pg_stat_get_blocks_hit(nullif(c.reltoastrelid, 0))
    from (
        select t.oid, t.reltoastrelid, pg_catalog.pg_stat_get_blocks_fetched(t.oid) as fetched
        from pg_catalog.pg_class t
        where t.oid >= 16384::oid and t.relkind in ('r', 'p', 'm') and t.relpersistence <> 't'
        order by fetched desc, t.oid
        limit %(at_most)s
    ) as c
) to stdout;
