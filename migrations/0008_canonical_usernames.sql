-- Spellings of a name that are one name.

-- lower() knows neither that ẞ, ß and ss are the same nor that ﬁ is fi, and what it
-- knows depends on the locale of the database. So the programs compute what the
-- spellings of a name have in common (Unicode NFKC_Casefold), and the database
-- compares it.
alter table users add column canonical_username text;
alter table users add constraint users_canonical_username_key unique (canonical_username);

comment on column users.username is
    'What the user types to log in, as an administrator has written it; spellings that differ in case or compatibility only are the same name.';
comment on column users.canonical_username is
    'username in Unicode NFKC_Casefold: what no two users share. Null only until auth-sidecar has computed it for rows that are older than the column.';

-- It would refuse two names whose lower() in this locale is the same and which are
-- none the less two.
drop index users_username_lower_key;

-- What lock_username is, for canonical names.
create function lock_canonical_username(wanted text) returns integer
language plpgsql volatile as $$
begin
    perform pg_advisory_xact_lock(hashtextextended('username:' || wanted, 0));
    return (select id from users where canonical_username = wanted);
end
$$;

comment on function lock_canonical_username(text) is
    'Makes others who want this username wait until the transaction ends; returns the id of the user who has it, or null.';

-- What nobody can tell from a user: a name that nobody has is tried against the hash
-- of a stand-in, so that it takes as long as a name of somebody, whatever mix of
-- algorithms imported users have brought along.
create function stand_in(mark text) returns text
language sql stable
return coalesce(
    -- By the public id, which is random: of ids that count, the ones behind a gap of
    -- deleted users would be picked more often.
    (
        select password_hash
        from users
        where public_id >= left(
            translate(encode(sha256(convert_to(mark, 'UTF8')), 'base64'), '+/=', ''), 6)
        order by public_id
        limit 1
    ),
    (select password_hash from users order by public_id limit 1)
);

comment on function stand_in(text) is
    'The password hash of some user, the same one for the same mark as long as users stay the same; null when there are none. Nobody outside may be able to compute the mark of a name: names with one stand-in would tell whose hash it is.';
