-- Settings. Where this session has a value of its own (see session.sql), the one that it would go back to; what a
-- transaction has for itself is left out.
-- Values that may hold a secret are withheld: commands and connection strings, whatever is named like a secret, and
-- texts of extensions other than those known to have none.
-- Privileges: pg_read_all_settings (in pg_monitor) for those of superusers only. Cost: some 2.5 ms for 400.
copy (
    select
        s.name,
        case when not s.is_withheld then s.value end,
        s.unit,
        s.context,
        nullif(s.source, 'session'),
        s.sourcefile,
        s.reset_val is not distinct from s.boot_val,
        s.is_withheld,
        coalesce(s.reset_val, '') <> '',
        s.pending_restart
    from (
        select
            name,
            case when source = 'session' then reset_val else setting end as value,
            unit,
            context,
            source,
            sourcefile,
            reset_val,
            boot_val,
            pending_restart,
            vartype = 'string' and (
                name ~ '_(command|conninfo)$'
                or name ~* '(password|passwd|passphrase|secret|token|credential|private|salt|api_?key|access_?key)'
                or (
                    pg_catalog.strpos(name, '.') > 0
                    and pg_catalog.split_part(name, '.', 1)
                        not in ('auto_explain', 'cron', 'pg_partman_bgw', 'pg_stat_statements', 'pgaudit', 'plpgsql')
                )
            ) as is_withheld
        from pg_catalog.pg_settings
        where name not in ('transaction_deferrable', 'transaction_isolation', 'transaction_read_only')
    ) as s
) to stdout;
