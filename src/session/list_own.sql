-- session::list_own
-- $1 session id of the caller, text; $2 page size, int8
-- $3 session id after which the page starts, text or null
with owner as (
    select users.id
    from sessions join users on users.id = sessions.user_id
    where sessions.id = $1::text and sessions.expires_at > now() and not users.disabled
), found as (
    -- By id is by age: the ids start with the time.
    select sessions.*, row_number() over (order by sessions.id) as place
    from sessions join owner on owner.id = sessions.user_id
    where sessions.id > coalesce($3::text, '') and expires_at > now()
    order by sessions.id
    limit $2::bigint + 1
)
select case when exists (select from owner)
    then jsonb_build_object(
        'outcome', 'listed',
        'sessions', coalesce(
            jsonb_agg(
                jsonb_build_object(
                    'session_id', id, 'created_at', rfc3339(created_at),
                    'expires_at', rfc3339(expires_at), 'ip_address', ip_address,
                    'user_agent', user_agent, 'current', id = $1::text)
                order by place) filter (where place <= $2::bigint),
            '[]'),
        'next_after', case when count(*) > $2::bigint
            then max(id) filter (where place = $2::bigint) end)
    else jsonb_build_object('outcome', 'not_live')
    end
from found
