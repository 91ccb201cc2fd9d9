-- What the agent's role may do here, and which extension it would miss.
-- Privileges: pg_read_all_settings (in pg_monitor) for preloaded; null without. Cost: negligible.
select
    current_user as role_name,
    pg_catalog.pg_has_role('pg_monitor', 'USAGE') as is_monitor,
    exists (select from pg_catalog.pg_extension where extname = 'pg_stat_statements') as has_statements,
    (select setting from pg_catalog.pg_settings where name = 'shared_preload_libraries') as preloaded,
    pg_catalog.current_setting('track_counts')::bool as counts;
