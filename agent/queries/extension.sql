-- Extensions of this database, and the version that their control files on the host have.
-- Privileges: none. Cost: some 2 ms, as it reads all control files of the host.
select
    e.extname,
    e.extversion,
    a.default_version,
    n.nspname,
    pg_catalog.pg_get_userbyid(e.extowner)
from pg_catalog.pg_extension e
join pg_catalog.pg_namespace n on n.oid = e.extnamespace
left join pg_catalog.pg_available_extensions() a on a.name = e.extname;
