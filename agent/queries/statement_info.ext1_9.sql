-- How often pg_stat_statements had to throw statements out, and since when it counts.
-- Privileges: none. Cost: negligible.
select dealloc, pg_catalog.current_setting('pg_stat_statements.max')::bigint, stats_reset
from pg_stat_statements_info;
