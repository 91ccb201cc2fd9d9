-- Sizes of tables, materialized views and indexes, each file asked for once. Asking takes an AccessShareLock, which
-- waits behind an AccessExclusiveLock even if that is itself still waiting: whatever has one in pg_locks is left alone,
-- and so is a table whose TOAST table or index of that has one.
-- Privileges: none. Cost: some 50 ms for 4,000 relations; one stat() a file.
copy (
    with locked as materialized (
        select distinct k.relation
        from pg_catalog.pg_locks k
        where k.locktype = 'relation'
            and k.mode = 'AccessExclusiveLock'
            and k.database = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
    ), sized as materialized (
        select
            c.oid, c.relkind, c.relnamespace, c.reltoastrelid, c.reltuples, c.relpages, x.indrelid,
            k.relation is not null as is_locked,
            case when k.relation is null then pg_catalog.pg_relation_size(c.oid, 'main') end as main_bytes,
            case when k.relation is null then
                pg_catalog.pg_relation_size(c.oid, 'fsm')
                    + case when c.relkind = 'i' then 0 else pg_catalog.pg_relation_size(c.oid, 'vm') end
            end as map_bytes,
            case
                when k.relation is null and c.relpersistence = 'u' then pg_catalog.pg_relation_size(c.oid, 'init')
                else 0
            end as init_bytes
        from pg_catalog.pg_class c
        left join pg_catalog.pg_index x on x.indexrelid = c.oid
        left join locked k on k.relation = c.oid
        where c.oid >= 16384::oid and c.relkind in ('r', 'm', 'i', 't') and c.relpersistence <> 't'
    ), indexes as materialized (
        select
            s.indrelid,
            case when pg_catalog.bool_and(not s.is_locked) then
                pg_catalog.sum(s.main_bytes + s.map_bytes + s.init_bytes)::bigint
            end as bytes
        from sized s
        where s.relkind = 'i'
        group by s.indrelid
    ), parts as (
        select
            s.*,
            s.main_bytes + s.map_bytes + s.init_bytes as own_bytes,
            t.main_bytes + t.map_bytes + t.init_bytes + ti.bytes as toast_bytes,
            case when s.relkind = 'i' or i.indrelid is not null then i.bytes else 0 end as indexes_bytes,
            s.is_locked or t.oid is not null and (t.is_locked or ti.bytes is null) as is_out
        from sized s
        left join sized t on t.oid = nullif(s.reltoastrelid, 0::oid)
        left join indexes ti on ti.indrelid = t.oid
        left join indexes i on i.indrelid = s.oid
        -- What was dropped meanwhile has no size, and no lock either.
        where s.relkind <> 't' and s.relnamespace <> 99::oid and (s.is_locked or s.main_bytes is not null)
    )
    select
        p.oid,
        case when not p.is_out then p.own_bytes end,
        case when not p.is_out then p.main_bytes end,
        case when not p.is_out then p.map_bytes end,
        case when not p.is_out then p.toast_bytes end,
        p.indexes_bytes,
        case
            when not p.is_out then
                p.own_bytes + coalesce(p.toast_bytes, 0) + case when p.relkind = 'i' then 0 else p.indexes_bytes end
        end,
        nullif(p.reltuples, -1)::bigint,
        p.relpages
    from parts p
) to stdout;
