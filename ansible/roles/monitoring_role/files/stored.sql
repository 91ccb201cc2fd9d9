-- The verifier of the role's password; no line without one.
-- Variable: role. Privileges: superuser.
select rolpassword from pg_catalog.pg_authid where rolname = :'role' and rolpassword is not null;
