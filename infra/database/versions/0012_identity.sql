-- Who may write, read and change what. No secret stands here as it is: tokens as sha-256, passwords as argon2id.

create schema identity;

-- Tokens that hosts enrol with. With agent_id it enrols that agent only, in the place of one of that name if need be.
create table identity.enrolment (
    id text primary key,
    token_sha256 bytea not null unique,
    created_at timestamptz not null,
    created_by text not null,
    expires_at timestamptz not null,
    uses bigint not null check (uses > 0),
    used bigint not null default 0 check (used between 0 and uses),
    labels jsonb not null default '{}',
    agent_id text,
    comment text not null default '',
    revoked_at timestamptz
);
create index on identity.enrolment (created_at, id);

-- Agents that were enrolled, whether or not they have sent anything yet.
create table identity.agent (
    agent_id text primary key,
    enrolled_at timestamptz not null,
    enrolment_id text not null references identity.enrolment,
    labels jsonb not null default '{}',
    revoked_at timestamptz,
    revoked_by text,
    revoked_reason text
);

-- Their certificates. key_sha256 is of the public key (SubjectPublicKeyInfo, DER), and outlives a renewal.
create table identity.certificate (
    fingerprint bytea primary key,
    serial numeric not null unique,
    agent_id text not null references identity.agent,
    key_sha256 bytea not null,
    public_key bytea not null,
    not_before timestamptz not null,
    not_after timestamptz not null,
    revoked_at timestamptz
);
create index on identity.certificate (agent_id, not_after);

-- Assertions that were exchanged for a token: none is good twice. Those that expired are deleted by maintenance.
create table identity.assertion (
    agent_id text not null,
    jti text not null,
    expires_at timestamptz not null,
    primary key (agent_id, jti)
);
create index on identity.assertion (expires_at);

create table identity.operator (
    name text primary key,
    role text not null check (role in ('viewer', 'operator', 'admin')),
    password_hash text not null,
    password_changed_at timestamptz not null,
    created_at timestamptz not null,
    created_by text not null,
    disabled_at timestamptz,
    last_login_at timestamptz
);

-- A login, and the refresh tokens that followed from it: of a session only the newest is good.
create table identity.session (
    id uuid primary key,
    operator text not null references identity.operator,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    ended_at timestamptz,
    ended_why text
);
create index on identity.session (operator) where ended_at is null;
create index on identity.session (expires_at);

create table identity.refresh (
    token_sha256 bytea primary key,
    session_id uuid not null references identity.session on delete cascade,
    issued_at timestamptz not null,
    expires_at timestamptz not null,
    used_at timestamptz
);
create index on identity.refresh (session_id);

-- Failed logins, by account (a hash of its name) and address and by address alone (account ''): what slows the next
-- ones. slowed: how many came too early since the last that was examined. What is a day old counts no more.
create table identity.failure (
    account text not null,
    address text not null,
    failures bigint not null,
    last_at timestamptz not null,
    slowed bigint not null default 0,
    primary key (account, address)
);
create index on identity.failure (last_at);

-- What was done, and refused. Only ever appended to.
create table identity.audit (
    id bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    actor_kind text not null check (actor_kind in ('agent', 'operator', 'command', 'nobody')),
    actor text,
    address text,
    action text not null,
    subject text,
    outcome text not null check (outcome in ('done', 'refused')),
    detail jsonb not null default '{}'
);
create index on identity.audit (at, id);
