-- Drops the role, which has nothing any more, unless `apply` is off.
-- Variables: role, apply.
\if :apply
drop role :"role";
\endif
