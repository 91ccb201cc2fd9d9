-- How the server writes its log.
-- Privileges: none. Cost: negligible.
select
    pg_catalog.current_setting('log_line_prefix') as log_line_prefix,
    pg_catalog.current_setting('log_timezone') as log_timezone,
    pg_catalog.current_setting('lc_messages') as lc_messages;
