-- Who keeps dead rows from being removed, oldest first. A session does by its own transaction id as well as by its
-- snapshot; one that vacuums does not. A slot's own xmin holds all rows, its catalog_xmin those of the catalogs;
-- once the WAL that it needs is lost, neither.
-- Privileges: pg_read_all_stats (in pg_monitor) for state and begin of a session. Cost: some 2 ms for 100 sessions.
-- Parameter: at_most.
select kind, holder, datid, user_name, application_name, state, xmin_age, held_since_at
from (
    select
        'session' as kind,
        a.pid::text as holder,
        a.datid,
        a.usename as user_name,
        a.application_name,
        a.state,
        greatest(pg_catalog.age(a.backend_xid), pg_catalog.age(a.backend_xmin)) as xmin_age,
        a.xact_start as held_since_at
    from pg_catalog.pg_stat_activity a
    where a.pid <> pg_catalog.pg_backend_pid()
        and (a.backend_xid is not null or a.backend_xmin is not null)
        and a.pid not in (select s.pid from pg_catalog.pg_stat_get_wal_senders() s)
        and a.pid not in (select v.pid from pg_catalog.pg_stat_progress_vacuum v)
    union all
    select
        'standby',
        w.pid::text,
        null,
        w.usename,
        w.application_name,
        w.state,
        pg_catalog.age(w.backend_xmin),
        w.backend_start
    from pg_catalog.pg_stat_replication w
    where w.backend_xmin is not null
    union all
    select
        'prepared',
        p.transaction::text,
        p.dbid,
        pg_catalog.pg_get_userbyid(p.ownerid),
        null,
        null,
        pg_catalog.age(p.transaction),
        p.prepared
    from pg_catalog.pg_prepared_xact() p
    union all
    select
        h.kind,
        r.slot_name,
        r.datoid,
        null,
        null,
        case when r.active then 'active' else 'inactive' end,
        pg_catalog.age(h.xmin),
        null
    from pg_catalog.pg_replication_slots r
    cross join lateral (values ('slot', r.xmin), ('slot_catalog', r.catalog_xmin)) as h (kind, xmin)
    where h.xmin is not null and r.wal_status is distinct from 'lost'
) as holders
order by xmin_age desc
limit %(at_most)s;
