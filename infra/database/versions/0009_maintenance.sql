-- Partitions are dropped one by one, each table's after its own time, so what is late may need those of some tables only.
drop function store.drop_partitions(date);
drop function store.make_partitions(date);

-- Makes what is missing of the partitions of one day, of all tables or of those that are named (`metric.table_stats`),
-- and answers how many it made. A partition is made apart and then attached: that takes no lock that loading or reading
-- would wait for.
create function store.make_partitions(for_day date, of_tables text[] default null) returns integer
language plpgsql as $$
declare
    parent record;
    part text;
    made integer := 0;
begin
    perform pg_advisory_xact_lock(hashtext('store.make_partitions'));
    for parent in
        select n.nspname, c.relname
        from pg_class c
        join pg_namespace n on n.oid = c.relnamespace
        where c.relkind = 'p' and n.nspname in ('store', 'metric')
            and (of_tables is null or n.nspname || '.' || c.relname = any(of_tables))
        order by n.nspname, c.relname
    loop
        part := parent.nspname || '_' || parent.relname || '_' || to_char(for_day, 'YYYYMMDD');
        if to_regclass(format('partition.%I', part)) is null then
            execute format('create table partition.%I (like %I.%I including all)', part, parent.nspname, parent.relname);
            execute format(
                'alter table %I.%I attach partition partition.%I for values from (%L) to (%L)',
                parent.nspname, parent.relname, part,
                for_day::timestamp at time zone 'UTC', (for_day + 1)::timestamp at time zone 'UTC'
            );
            made := made + 1;
        end if;
    end loop;
    return made;
end
$$;

-- The partitions that there are, each with its table (`metric.table_stats`) and the first day that is not its own; the
-- name of one ends in its day, or in its month.
create view store.partition as
    select c.relname as name, n.nspname || '.' || p.relname as of_table,
        case length(named.time)
            when 8 then to_date(named.time, 'YYYYMMDD') + 1
            else (to_date(named.time, 'YYYYMM') + interval '1 month')::date
        end as until_day
    from pg_inherits i
    join pg_class c on c.oid = i.inhrelid and c.relnamespace = 'partition'::regnamespace and c.relkind = 'r'
    join pg_class p on p.oid = i.inhparent
    join pg_namespace n on n.oid = p.relnamespace
    cross join lateral (select substring(c.relname from '_([0-9]+)$') as time) as named;
