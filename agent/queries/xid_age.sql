-- How far each database is from its last complete freezing.
-- Privileges: none. Cost: a scan of pg_database.
select oid, pg_catalog.age(datfrozenxid), pg_catalog.mxid_age(datminmxid)
from pg_catalog.pg_database;
