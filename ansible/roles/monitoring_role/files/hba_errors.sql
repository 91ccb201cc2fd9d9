-- Lines for which the server would refuse to read pg_hba.conf anew, and keep what it had.
select 'line ' || line_number || ': ' || error
from pg_catalog.pg_hba_file_rules
where error is not null and error not like '%SSL is disabled%';
