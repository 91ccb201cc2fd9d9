-- Tablespaces and their size. A size that the role may not ask for is null: asking would fail the whole query.
-- The default tablespace of the session's database is open to all; one that was dropped meanwhile is left out.
-- Privileges: CREATE on each, or pg_read_all_stats (in pg_monitor). Cost: one stat() a file: some 10 ms for 7,000.
select
    s.oid,
    s.spcname,
    nullif(pg_catalog.pg_tablespace_location(s.oid), ''),
    case
        when pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')
            or pg_catalog.has_tablespace_privilege(s.oid, 'CREATE')
            or s.oid = (
                select d.dattablespace from pg_catalog.pg_database d where d.datname = pg_catalog.current_database()
            )
            then pg_catalog.pg_tablespace_size(s.oid)
    end
from pg_catalog.pg_tablespace s
where pg_catalog.pg_describe_object('pg_catalog.pg_tablespace'::pg_catalog.regclass, s.oid, 0) is not null;
