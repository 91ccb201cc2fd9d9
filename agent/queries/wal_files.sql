-- What lies in pg_wal, and what of it waits for the archiver. Segments compare by their place in the WAL, the last
-- 16 digits of their name; those beyond the current one were recycled for later use.
-- Privileges: pg_monitor. Cost: one stat() a file: some 0.5 ms for 12.
select
    w.segments,
    w.recycled_segments,
    w.size_bytes,
    w.oldest_modified_at,
    a.ready_files,
    a.oldest_ready_at
from (
    select
        pg_catalog.count(*) filter (where f.is_segment) as segments,
        case
            when not pg_catalog.pg_is_in_recovery()
                then pg_catalog.count(*) filter (where f.is_segment and f.place > c.place)
        end as recycled_segments,
        pg_catalog.sum(f.size)::bigint as size_bytes,
        pg_catalog.min(f.modification) filter (where f.is_segment and (f.place <= c.place) is not false)
            as oldest_modified_at
    from (
        select
            name ~ '^[0-9A-F]{24}$' as is_segment,
            pg_catalog.right(name, 16) collate "C" as place,
            size,
            modification
        from pg_catalog.pg_ls_waldir()
    ) as f
    cross join (
        select
            case
                when not pg_catalog.pg_is_in_recovery()
                    then pg_catalog.right(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 16)
            end as place
    ) as c
) as w
cross join (
    select pg_catalog.count(*) as ready_files, pg_catalog.min(modification) as oldest_ready_at
    from pg_catalog.pg_ls_archive_statusdir()
    where name like '%.ready'
) as a;
