-- How far sequences have come. Reading one takes a RowExclusiveLock: what has a conflicting lock in pg_locks, granted
-- or waiting, is left alone. Temporary ones belong to other sessions, unlogged ones cannot be read on a standby.
-- Privileges: SELECT on each sequence; without, is_readable is false. Cost: some 10 ms for 1,000 sequences.
copy (
    with locked as materialized (
        select distinct k.relation
        from pg_catalog.pg_locks k
        where k.locktype = 'relation'
            and k.mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
            and k.database = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
    ), owned as materialized (
        select
            d.objid,
            case a.atttypid
                when 'smallint'::regtype then 32767
                when 'integer'::regtype then 2147483647
                when 'bigint'::regtype then 9223372036854775807
            end as column_max
        from pg_catalog.pg_depend d
        join pg_catalog.pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
        where d.classid = 'pg_catalog.pg_class'::regclass
            and d.refclassid = 'pg_catalog.pg_class'::regclass
            and d.deptype in ('a', 'i')
            and d.objid in (select seqrelid from pg_catalog.pg_sequence)
    ), used as (
        select
            s.*,
            o.column_max,
            least(s.seqmax, o.column_max) as upper_end,
            k.relation is not null as is_locked,
            case when k.relation is null then
                pg_catalog.has_sequence_privilege(s.seqrelid, 'SELECT,USAGE')
            end as is_readable,
            -- Asked for its rights just before: null once it was dropped, where reading it would be an error.
            case when k.relation is null and pg_catalog.has_sequence_privilege(s.seqrelid, 'SELECT,USAGE') then
                pg_catalog.pg_sequence_last_value(s.seqrelid)
            end as last_value
        from pg_catalog.pg_sequence s
        join pg_catalog.pg_class c on c.oid = s.seqrelid
        left join owned o on o.objid = s.seqrelid
        left join locked k on k.relation = s.seqrelid
        where c.relpersistence = 'p' or c.relpersistence = 'u' and not pg_catalog.pg_is_in_recovery()
    )
    select
        u.seqrelid,
        pg_catalog.format_type(u.seqtypid, null),
        u.last_value,
        u.seqmin,
        u.seqmax,
        u.seqincrement,
        u.seqcycle,
        u.column_max,
        case
            when u.is_readable is not true then null
            when u.last_value is null then 0
            when u.seqincrement < 0 then
                (u.seqmax::numeric - u.last_value + 1) / (u.seqmax::numeric - u.seqmin + 1)
            else least((u.last_value::numeric - u.seqmin + 1) / greatest(u.upper_end::numeric - u.seqmin + 1, 1), 1)
        end::float8,
        u.is_readable
    from used u
    where u.is_locked or u.is_readable is not null
) to stdout;
