-- How many hold the xmin horizon: the rows of xmin_holder without its cap.
-- Privileges: none. Cost: some 2 ms for 100 sessions.
select
    (
        select pg_catalog.count(*)
        from pg_catalog.pg_stat_activity a
        where a.pid <> pg_catalog.pg_backend_pid()
            and (a.backend_xid is not null or a.backend_xmin is not null)
            and a.pid not in (select s.pid from pg_catalog.pg_stat_get_wal_senders() s)
            and a.pid not in (select v.pid from pg_catalog.pg_stat_progress_vacuum v)
    )
    + (
        select pg_catalog.count(*)
        from pg_catalog.pg_stat_replication w
        where w.backend_xmin is not null
    )
    + (select pg_catalog.count(*) from pg_catalog.pg_prepared_xact())
    + (
        select pg_catalog.count(xmin) + pg_catalog.count(catalog_xmin)
        from pg_catalog.pg_replication_slots
        where wal_status is distinct from 'lost'
    ) as total;
