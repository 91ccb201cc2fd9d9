-- Takes the role's rights on what is in this database, and on databases; it owns nothing there, which was seen before.
-- Variables: role, apply.
select pg_catalog.format('drop owned by %I', r.rolname)
from pg_catalog.pg_roles r
where r.rolname = :'role' and exists (
    select
    from pg_catalog.pg_shdepend s
    join pg_catalog.pg_database d on d.datname = pg_catalog.current_database()
    where s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass and s.refobjid = r.oid and s.dbid in (0, d.oid)
)
\g
\if :apply
\gexec
\endif
