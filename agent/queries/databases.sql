-- The databases that this role may look into.
-- Privileges: none beyond connecting. Cost: a scan of pg_database.
select oid, datname
from pg_catalog.pg_database
where datallowconn and pg_catalog.has_database_privilege(oid, 'CONNECT')
order by datname;
