-- Guessing passwords: how many tries were wrong, of whom and from where.

create table login_throttle (
    key        text        not null,
    failures   integer     not null default 0,
    since      timestamptz not null default now(),
    last_at    timestamptz not null default now(),
    refused_at timestamptz,
    constraint login_throttle_pkey primary key (key)
) with (fillfactor = 50);

create index login_throttle_last_at_idx on login_throttle (last_at);

comment on table login_throttle is
    'Tries at passwords that were not right, by name and network, by network, and by name. Instances share nothing but this.';
comment on column login_throttle.key is
    'What is counted: pair, network or name, a space, and SHA-256 in hex. Not the text: people type passwords where names belong.';
comment on column login_throttle.failures is 'Tries that were counted. One that turns out to be right is taken back.';
comment on column login_throttle.since is 'When the count began.';
comment on column login_throttle.last_at is 'The last try that was counted.';
comment on column login_throttle.refused_at is 'When a refusal was last written to the audit log: once a minute.';

create table known_networks (
    user_id       integer     not null,
    network       text        not null,
    last_login_at timestamptz not null default now(),
    constraint known_networks_pkey primary key (user_id, network),
    constraint known_networks_user_id_fkey foreign key (user_id) references users (id) on delete cascade
);

create index known_networks_last_login_at_idx on known_networks (last_login_at);

comment on table known_networks is
    'From where users have logged in. Who comes from there is not kept out by what strangers do with the name.';
comment on column known_networks.user_id is 'Who.';
comment on column known_networks.network is 'An IPv4 address, or the first 64 bits of an IPv6 address.';
comment on column known_networks.last_login_at is 'The last login from there, to the day.';

create function login_throttle_key(kind text, what text) returns text
language sql immutable parallel safe
return kind || ' ' || encode(sha256(convert_to(what, 'UTF8')), 'hex');

comment on function login_throttle_key(text, text) is 'A key of login_throttle.';

-- A try is counted before anybody knows whether it is right: of a hundred at the
-- same moment, five get through. The rows are locked in the same order by all
-- (pair, network, name), and each query sees what the one before has waited for.
create function login_attempt(name text, network text, is_known boolean) returns jsonb
language plpgsql volatile as $$
declare
    keys   text[] := array[
        login_throttle_key('pair', lower(name) || ' ' || network),
        login_throttle_key('network', network),
        login_throttle_key('name', lower(name))];
    -- After how many failures, and for how long these count, in seconds.
    limits  integer[] := array[5, 30, 100];
    windows integer[] := array[3600, 900, 900];
    moment  timestamptz;
    entry   login_throttle;
    wait    double precision := 0;
    left_of_pair integer;
    report  boolean := false;
begin
    for place in 1 .. 3 loop
        insert into login_throttle (key) values (keys[place]) on conflict do nothing;
        select * into entry from login_throttle where key = keys[place] for update;
        moment := clock_timestamp();
        if entry.key is null then
            -- Housekeeping or a success has just removed it: nothing is counted.
            entry.failures := 0;
        elsif moment > (case place when 1 then entry.last_at else entry.since end)
                       + make_interval(secs => windows[place]) then
            update login_throttle set failures = 0, since = moment, refused_at = null
            where key = keys[place];
            entry.failures := 0;
        end if;
        if place = 1 then
            left_of_pair := greatest(limits[1] - entry.failures, 0);
            report := entry.refused_at is null or moment > entry.refused_at + interval '1 minute';
        end if;
        if entry.failures >= limits[place] and not (place = 3 and is_known) then
            wait := greatest(wait, extract(epoch from case place
                -- 15 seconds, doubled with each failure, to 15 minutes.
                when 1 then entry.last_at + make_interval(
                    secs => least(15 * 2 ^ (entry.failures - limits[1]), 900)) - moment
                else entry.since + make_interval(secs => windows[place]) - moment
                end));
        end if;
    end loop;
    if wait > 0 then
        if report then
            update login_throttle set refused_at = moment where key = keys[1];
        end if;
        return jsonb_build_object(
            'allowed', false, 'report', report, 'remaining', 0, 'retry_after', ceil(wait)::integer);
    end if;
    update login_throttle set failures = failures + 1, last_at = moment where key = any (keys);
    return jsonb_build_object(
        'allowed', true, 'report', false, 'remaining', greatest(left_of_pair - 1, 0),
        'retry_after', case when left_of_pair <= 1 then 15 else 0 end);
end
$$;

comment on function login_attempt(text, text, boolean) is
    'Counts a try at a password, or refuses it: {allowed, report, remaining, retry_after in seconds}. report: this refusal belongs into the audit log.';

create function login_succeeded(name text, network text) returns void
language plpgsql volatile as $$
begin
    delete from login_throttle
    where key = login_throttle_key('pair', lower(name) || ' ' || network);
    update login_throttle set failures = greatest(failures - 1, 0)
    where key = login_throttle_key('network', network);
    update login_throttle set failures = greatest(failures - 1, 0)
    where key = login_throttle_key('name', lower(name));
end
$$;

comment on function login_succeeded(text, text) is
    'Takes back what login_attempt has counted for a try that was right, and clears the pair.';
