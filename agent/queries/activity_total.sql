-- How many groups of sessions there are.
-- Privileges: see activity. Cost: see activity.
select pg_catalog.count(*)
from (
    select distinct
        state,
        wait_event_type,
        wait_event,
        datid,
        usesysid,
        usename,
        pg_catalog.left(application_name, 64),
        case when backend_start is not null then coalesce(backend_type, 'background worker') end
    from pg_catalog.pg_stat_activity
    where not (application_name = 'pganalytics-agent' and usename is not distinct from session_user)
        and not (wait_event_type is not distinct from 'Activity' and state is null)
) as alike;
