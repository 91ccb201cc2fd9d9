-- Size of every database. A size that the role may not ask for is null: asking would fail the whole query.
-- A database that was dropped meanwhile is left out: pg_describe_object answers null.
-- Privileges: CONNECT on each, or pg_read_all_stats (in pg_monitor). Cost: one stat() a file: some 0.5 ms for 300.
select
    oid,
    case
        when pg_catalog.has_database_privilege(oid, 'CONNECT')
            or pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')
            then pg_catalog.pg_database_size(oid)
    end
from pg_catalog.pg_database
where pg_catalog.pg_describe_object('pg_catalog.pg_database'::pg_catalog.regclass, oid, 0) is not null;
