-- Prepared transactions, without their names (gid), which are the application's own text.
-- Privileges: none. Cost: negligible.
select
    transaction,
    dbid,
    ownerid,
    prepared,
    pg_catalog.age(transaction)
from pg_catalog.pg_prepared_xact();
