-- Names and properties of databases.
-- Privileges: none. Cost: a scan of pg_database.
select
    oid,
    datname,
    pg_catalog.pg_get_userbyid(datdba),
    pg_catalog.pg_encoding_to_char(encoding),
    datistemplate,
    datallowconn,
    datconnlimit
from pg_catalog.pg_database;
