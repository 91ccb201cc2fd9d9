-- When pg_stat_statements was last reset as a whole; it survives a clean restart and is new after a crash.
-- Privileges: none. Cost: negligible.
select stats_reset from pg_stat_statements_info;
