-- Where an object in quarantine says that it belongs; null where its name is no batch's.
alter table store.quarantine
    add column stream_id uuid,
    add column seq bigint,
    add column sha256_start text;

update store.quarantine
set (stream_id, seq, sha256_start) = (parts[1]::uuid, parts[2]::bigint, parts[3])
from (
    select q.object_key, regexp_match(
        q.object_key, '^batches/v1/agent=[^/]+/dt=[^/]+/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-([0-9]{12})-([0-9a-f]{16})\.json\.gz$'
    ) as parts
    from store.quarantine q
) as named
where named.object_key = quarantine.object_key and parts is not null and agent_id is not null;

-- Every object that was taken, loaded or refused, by the place it has or asked for. Only what is loaded holds its place:
-- of what is in quarantine nothing is known but its name, which anybody may write who may write to the bucket.
create view store.place as
    select l.agent_id, l.stream_id, l.seq, 'loaded' as state, l.object_key,
        substr(encode(l.sha256, 'hex'), 1, 16) as sha256_start, null as reason, l.loaded_at as since_at
    from store.ledger l
    union all
    select q.agent_id, q.stream_id, q.seq, 'quarantined', q.object_key, q.sha256_start, q.reason, q.quarantined_at
    from store.quarantine q
    where q.seq is not null;
