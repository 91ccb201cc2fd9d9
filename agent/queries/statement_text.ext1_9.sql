-- Texts of these statements, cut after so many characters. The server reads the file with all texts, however few are
-- asked for: it is asked only where there is one that was not sent.
-- No COPY: that would have the numbers in its text, and be a new statement itself each time.
-- Privileges: pg_read_all_stats (in pg_monitor). Cost: some 100 ms for 30 MB of texts.
-- Parameters: queryids, characters.
select distinct on (queryid) queryid, pg_catalog.left(query, %(characters)s::int) as query
from pg_stat_statements(true)
where queryid = any (%(queryids)s::bigint[]) and query is not null;
