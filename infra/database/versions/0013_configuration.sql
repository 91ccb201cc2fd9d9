-- Configuration in scopes (fleet, group:NAME, agent:ID). The live version of a scope is its newest that was activated;
-- one that was not waits for a release.
alter table store.document
    add column revision bigint generated always as identity unique,
    add column selector jsonb,
    add column priority integer,
    add column activated_at timestamptz default now(),
    add constraint group_has_selector check ((scope like 'group:%') = (selector is not null));

-- Labels that operators gave an agent, in the place of those of its enrolment.
create table store.agent_labels (
    agent_id text primary key,
    labels jsonb not null
);

-- A version on its way over its scope, in stages. At most one at a time is on its way in a scope.
create table store.release (
    id bigint generated always as identity primary key,
    scope text not null,
    from_version bigint not null,  -- 0: nothing was live before
    to_version bigint not null,
    stages text[] not null,
    stage integer not null default 0,
    stage_since_at timestamptz not null default now(),
    bake_seconds integer not null,
    gates jsonb not null,
    state text not null check (state in ('running', 'paused', 'halted', 'aborted', 'done')),
    reason text,
    created_by text not null,
    created_at timestamptz not null default now(),
    ended_at timestamptz,
    comment text not null default '',
    looked_at timestamptz,  -- when its gates were last measured
    watched_since_at timestamptz,  -- since when that is without a pause: no silence began before, but ours
    read_until_at timestamptz not null default now(),  -- up to where the ledger was read, by the store's own clock
    foreign key (scope, to_version) references store.document (scope, version)
);
create unique index one_release on store.release (scope) where state in ('running', 'paused');

create table store.release_event (
    release_id bigint not null references store.release,
    at timestamptz not null default clock_timestamp(),
    event text not null,
    stage integer not null,
    actor text not null,
    detail jsonb not null default '{}'
);
create index on store.release_event (release_id, at);

-- Agents that were given the new version of a release, and when first: what its gates look at.
create table store.release_agent (
    release_id bigint not null references store.release,
    agent_id text not null,
    stage integer not null,
    given_at timestamptz not null default now(),
    primary key (release_id, agent_id)
);

-- Collectors that failed in agents that were given the new version, each by the first run that shows it. What failed
-- before as well stands here, too, lest it be compared at every look; it does not count.
create table store.release_failure (
    release_id bigint not null references store.release,
    agent_id text not null,
    target_id bigint not null,
    collector text not null,
    datid oid not null,  -- 0: of no database
    started_at timestamptz not null,
    status text not null,
    sqlstate text,
    detail text,
    before boolean not null,
    primary key (release_id, agent_id, target_id, collector, datid)
);

-- What arrived since the last look.
create index on store.ledger (loaded_at);

-- What each agent is to obey, as computed in that generation. What changes for many begins a new generation, what
-- changes for one puts its row into none (0): its next question computes it anew, all others cost one indexed read.
create table store.generation (
    one boolean primary key default true check (one),
    generation bigint not null
);
insert into store.generation values (true, 1);

create table store.effective (
    agent_id text primary key,
    generation bigint not null,
    version bigint not null,
    etag text not null
);
create table store.effective_body (
    etag text primary key,
    body text not null
);

-- What agents last said, and when by the store's clock; `answers`: of what they were last given to obey. Who is not heard
-- of for longer than its patience, three uploads' time and never less than 3 minutes, is silent. A proxy may weaken the
-- tag on its way to the agent, which then reports it so.
create view store.heard as
    with patience as materialized (
        select etag, interval '1 second'
            * greatest(3 * (body::jsonb #>> '{document,upload_every_seconds}')::bigint, 180) as patience
        from store.effective_body
    )
    select a.agent_id, a.config_state, a.config_reason,
        coalesce(e.etag = ltrim(a.config_etag, 'W/'), false) as answers,
        a.last_seen_at - coalesce(a.clock_skew_us, 0) * interval '1 microsecond' as heard_at,
        coalesce(p.patience, interval '3 minutes') as patience
    from store.agent a
    left join store.effective e using (agent_id)
    left join patience p on p.etag = e.etag;

-- For counters of agents that were given a release's version: the time since, and as long a time before, 10 minutes at
-- least; by each agent's own clock. Of a thousand of them, always the same: a median needs no more.
create function store.release_stretch(of_release bigint, until_at timestamptz)
returns table (agent_id text, target_id bigint, since boolean, from_at timestamptz, to_at timestamptz)
language sql stable as $$
    select r.agent_id, t.target_id, side.since, side.from_at, side.to_at
    from (
        select g.agent_id, g.given_at
        from store.release_agent g
        where g.release_id = of_release
        order by hashtext(g.agent_id)
        limit 1000
    ) as r
    join store.agent a using (agent_id)
    join store.target t on t.agent_id = r.agent_id and t.name = 'host'
    cross join lateral (
        select r.given_at + coalesce(a.clock_skew_us, 0) * interval '1 microsecond' as given_at
    ) as own
    cross join lateral (
        values (true, own.given_at, 'infinity'),
            (false, own.given_at - greatest(until_at - r.given_at, interval '10 minutes'), own.given_at)
    ) as side (since, from_at, to_at)
$$;

create function store.compute_anew() returns trigger language plpgsql as $$
declare
    changed jsonb := coalesce(to_jsonb(new), to_jsonb(old));
    of_agent text := coalesce(changed ->> 'agent_id', substr(changed ->> 'scope', 7));
begin
    if tg_op = 'INSERT' and changed -> 'activated_at' = 'null' then
        return null;  -- a draft is nothing to obey
    end if;
    if changed ? 'agent_id' or changed ->> 'scope' like 'agent:%' then
        -- Who computes for the agent holds this lock: what it made of the time before this change is there by now.
        perform pg_advisory_xact_lock(hashtextextended('store.effective:' || of_agent, 0));
        update store.effective set generation = 0 where agent_id = of_agent;
    else
        update store.generation set generation = generation + 1;
    end if;
    return null;
end
$$;
create trigger compute_anew after insert or update or delete on store.document
    for each row execute function store.compute_anew();
create trigger compute_anew after insert or update of state, stage or delete on store.release
    for each row execute function store.compute_anew();
create trigger compute_anew after insert or update or delete on store.agent_labels
    for each row execute function store.compute_anew();
create trigger compute_anew after insert or update of labels or delete on identity.agent
    for each row execute function store.compute_anew();
