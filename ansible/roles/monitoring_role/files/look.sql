-- What a cluster is, and what the role is there, as one JSON object. Any version answers it from 9.6 on.
-- Privileges: none; a superuser is told more.
select rolsuper as is_superuser from pg_catalog.pg_roles where rolname = current_user
\gset
\if :is_superuser
-- Of the next start; without a line there, of this one.
select coalesce(
    (select setting from pg_catalog.pg_file_settings where name = 'shared_preload_libraries' order by seqno desc limit 1),
    pg_catalog.current_setting('shared_preload_libraries')
) as libraries_next
\gset
select exists (
    select from pg_catalog.pg_authid where rolname = :'role' and rolpassword is not null
) as has_password
\gset
\else
\set libraries_next ''
\set has_password f
\endif
select json_build_object(
    'version', pg_catalog.current_setting('server_version'),
    'version_num', pg_catalog.current_setting('server_version_num')::int,
    'is_superuser', :'is_superuser'::bool,
    'in_recovery', pg_catalog.pg_is_in_recovery(),
    'is_local', coalesce(pg_catalog.inet_server_addr() <<= '127.0.0.0/8' or pg_catalog.inet_server_addr() = '::1', true),
    'ssl', pg_catalog.current_setting('ssl')::bool,
    'hba_file', (select setting from pg_catalog.pg_settings where name = 'hba_file'),
    'ident_file', (select setting from pg_catalog.pg_settings where name = 'ident_file'),
    'libraries', coalesce(
        (
            select pg_catalog.regexp_split_to_array(pg_catalog.translate(setting, ' "''', ''), ',')
            from pg_catalog.pg_settings
            where name = 'shared_preload_libraries'
        ),
        '{}'
    ),
    'libraries_next', pg_catalog.regexp_split_to_array(pg_catalog.translate(:'libraries_next', ' "''', ''), ','),
    'libraries_source', (select source from pg_catalog.pg_settings where name = 'shared_preload_libraries'),
    'has_extension', exists (select from pg_catalog.pg_available_extensions where name = 'pg_stat_statements'),
    'has_password', :'has_password'::bool,
    'is_too_mighty', exists (
        select
        from pg_catalog.pg_roles
        where rolname = :'role' and (rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls)
    ),
    'owns', exists (
        select
        from pg_catalog.pg_shdepend s
        join pg_catalog.pg_roles r on s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass and r.oid = s.refobjid
        where r.rolname = :'role' and s.deptype = 'o'
    ),
    'exists', exists (select from pg_catalog.pg_roles where rolname = :'role'),
    'databases', (
        select json_agg(datname order by datname)
        from pg_catalog.pg_database
        where datallowconn and not datistemplate
    )
);
