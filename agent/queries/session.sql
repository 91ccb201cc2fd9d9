-- Makes a session cheap and harmless for its server. Sent after connecting, since a pooler may ignore start-up options.
-- Privileges: none. Cost: one round trip a connection.
-- Parameter: statement_timeout_ms.
select
    pg_catalog.set_config('application_name', 'pganalytics-agent', false),
    pg_catalog.set_config('default_transaction_read_only', 'on', false),
    pg_catalog.set_config('search_path', 'pg_catalog', false),
    pg_catalog.set_config('statement_timeout', %(statement_timeout_ms)s::text, false),
    pg_catalog.set_config('lock_timeout', '100', false),
    pg_catalog.set_config('idle_in_transaction_session_timeout', '10000', false),
    pg_catalog.set_config('jit', 'off', false),
    pg_catalog.set_config('plan_cache_mode', 'force_generic_plan', false),
    pg_catalog.set_config('max_parallel_workers_per_gather', '0', false),
    pg_catalog.set_config('timezone', 'UTC', false),
    pg_catalog.set_config('datestyle', 'ISO', false),
    pg_catalog.set_config('client_encoding', 'UTF8', false),
    pg_catalog.current_setting('server_version_num')::int as server_version_num;
