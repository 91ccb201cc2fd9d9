-- The statements that the cluster still owes the role, a line each; carried out unless `apply` is off.
-- Variables: role, databases (a JSON array), read_all_data, apply.
with wanted as (
    select :'role'::name as role, (select oid from pg_catalog.pg_roles where rolname = :'role') as oid
), owed as (
    select 1 as step, pg_catalog.format('create role %I login', role) as statement
    from wanted
    where oid is null
    union all
    select 2, pg_catalog.format('alter role %I login inherit', role)
    from wanted
    join pg_catalog.pg_roles using (oid)
    where not (rolcanlogin and rolinherit)
    union all
    select
        3,
        pg_catalog.format('grant %I to %I', held, role)
            || case when pg_catalog.current_setting('server_version_num')::int >= 160000 then ' with inherit true' else '' end
    from wanted
    cross join pg_catalog.unnest(
        array['pg_monitor'] || case when :'read_all_data'::bool then array['pg_read_all_data'] else '{}' end
    ) as held
    where not coalesce(pg_catalog.pg_has_role(oid, held::name, 'USAGE'), false)
    union all
    -- A role that is yet to come may what everybody may; so may pg_monitor, of which it will be.
    select 4, pg_catalog.format('grant connect on database %I to %I', d.datname, w.role)
    from wanted w
    cross join pg_catalog.pg_database d
    where d.datname in (select pg_catalog.json_array_elements_text(:'databases'))
        and not coalesce(
            pg_catalog.has_database_privilege(w.oid, d.oid, 'CONNECT'),
            pg_catalog.has_database_privilege('pg_monitor', d.oid, 'CONNECT')
        )
)
select statement from owed order by step, statement
\g
\if :apply
\gexec
\endif
