-- Queries that a standby cancelled since they conflicted with recovery.
-- Privileges: none. Cost: some 0.2 ms for 20 databases.
select
    datid,
    confl_tablespace,
    confl_lock,
    confl_snapshot,
    confl_bufferpin,
    confl_deadlock,
    null,
    pg_catalog.pg_stat_get_db_stat_reset_time(datid)
from pg_catalog.pg_stat_database_conflicts;
