-- What the agent's role may do here, and which extension it would miss.
-- Privileges: none. Cost: negligible.
select
    pg_catalog.current_setting('server_version') as server_version,
    pg_catalog.current_setting('server_version_num')::int as server_version_num,
    current_user as role_name,
    pg_catalog.pg_has_role('pg_monitor', 'USAGE') as is_monitor,
    exists (select from pg_catalog.pg_extension where extname = 'pg_stat_statements') as has_statements,
    pg_catalog.current_setting('shared_preload_libraries', true) as preloaded,
    pg_catalog.current_setting('track_counts')::bool as counts;
