-- Takes the role's rights on what is in this database and on databases; what it owns is not dropped, and keeps it.
-- Variables: role, apply.
select pg_catalog.format('revoke all on database %I from %I', datname, :'role')
from pg_catalog.pg_database
where datname = current_database() and datacl::text like '%' || pg_catalog.quote_ident(:'role') || '=%'
