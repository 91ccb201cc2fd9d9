-- Names, kinds and parents of relations with an oid of their own choosing: what initdb made is left out,
-- and so are temporary relations and those of TOAST (schema 99).
-- Privileges: none. Cost: some 15 ms for 4,000 relations.
copy (
    select
        c.oid,
        n.nspname,
        c.relname,
        c.relkind,
        c.relpersistence,
        pg_catalog.pg_get_userbyid(c.relowner),
        case
            when c.relkind = 'S' then (
                select d.refobjid
                from pg_catalog.pg_depend d
                where d.classid = 'pg_catalog.pg_class'::regclass
                    and d.objid = c.oid
                    and d.refclassid = 'pg_catalog.pg_class'::regclass
                    and d.deptype in ('a', 'i')
                limit 1
            )
            else x.indrelid
        end,
        h.inhparent,
        c.reloptions,
        x.indisunique,
        x.indisprimary,
        x.indisvalid,
        m.amname,
        t.spcname
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    left join pg_catalog.pg_index x on x.indexrelid = c.oid
    left join pg_catalog.pg_inherits h on h.inhrelid = c.oid and c.relispartition
    left join pg_catalog.pg_am m on m.oid = c.relam
    left join pg_catalog.pg_tablespace t on t.oid = c.reltablespace
    where c.oid >= 16384::oid
        and c.relkind in ('r', 'p', 'm', 'i', 'I', 'S')
        and c.relpersistence <> 't'
        and c.relnamespace <> 99::oid
) to stdout;
