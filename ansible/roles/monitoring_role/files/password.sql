-- Sets the role's password by its SCRAM verifier, unless `apply` is off.
-- Variables: role, verifier, apply. The line of the log that log_statement = ddl writes has the verifier, not the password.
\if :apply
alter role :"role" password :'verifier';
\endif
