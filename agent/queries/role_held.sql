-- Whether this session's role has the rights of another.
-- Privileges: none. Cost: negligible.
-- Parameter: role.
select pg_catalog.pg_has_role(%(role)s::name, 'USAGE') as is_held;
