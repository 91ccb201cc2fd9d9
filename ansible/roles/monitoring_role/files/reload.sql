-- Lets the server read its files anew if a line of the role's changed, or is newer than what the server read, as an
-- earlier run that ended in between left it; tells so, and does it unless `apply` is off.
-- Lines of pg_hba.conf for which the server would refuse that, and keep what it had, are told instead.
-- Variables: changed, hba_file, apply.
select 'line ' || line_number || ': ' || error
from pg_catalog.pg_hba_file_rules
where error is not null and error not like '%SSL is disabled%';
select
    :ROW_COUNT = 0
    and (:'changed'::bool or (pg_catalog.pg_stat_file(:'hba_file')).modification > pg_catalog.pg_conf_load_time())
    as is_owed
\gset
\if :is_owed
\echo reload
\if :apply
select pg_catalog.pg_reload_conf() as reloaded
\gset
\endif
\endif
