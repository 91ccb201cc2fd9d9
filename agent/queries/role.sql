-- Roles, what they may do, and which of the predefined roles for monitoring they have. No password, not even hashed.
-- Privileges: none. Cost: some 0.7 ms for 300 roles.
select
    oid,
    rolname,
    rolsuper,
    rolinherit,
    rolcreaterole,
    rolcreatedb,
    rolcanlogin,
    rolreplication,
    rolbypassrls,
    rolconnlimit,
    rolvaliduntil,
    pg_catalog.pg_has_role(oid, 'pg_monitor', 'USAGE'),
    pg_catalog.pg_has_role(oid, 'pg_read_all_stats', 'USAGE'),
    pg_catalog.pg_has_role(oid, 'pg_read_all_settings', 'USAGE'),
    pg_catalog.pg_has_role(oid, 'pg_stat_scan_tables', 'USAGE'),
    null
from pg_catalog.pg_roles;
