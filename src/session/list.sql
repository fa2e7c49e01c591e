-- session::list
-- $1 page size, int8; $2 session id after which the page starts, text or null
-- $3 public id of a user, text or null for the sessions of all
with found as (
    -- By id is by age: the ids start with the time.
    select sessions.*, users.public_id, users.username,
           row_number() over (order by sessions.id) as place
    from sessions join users on users.id = sessions.user_id
    where sessions.id > coalesce($2::text, '') and expires_at > now()
      and ($3::text is null or users.public_id = $3::text)
    order by sessions.id
    limit $1::bigint + 1
)
select jsonb_build_object(
    'sessions', coalesce(
        jsonb_agg(
            jsonb_build_object(
                'session_id', id, 'user_id', user_id, 'public_id', public_id,
                'username', username, 'created_at', rfc3339(created_at),
                'expires_at', rfc3339(expires_at), 'ip_address', ip_address,
                'user_agent', user_agent)
            order by place) filter (where place <= $1::bigint),
        '[]'),
    'next_after', case when count(*) > $1::bigint
        then max(id) filter (where place = $1::bigint) end)
from found
