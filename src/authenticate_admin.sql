-- authenticate::admin
-- $1 session id, text; $2 ADMIN_USERNAME, text; $3 method and path, text
-- $4 facts about the request, text of a JSON object
with live as (
    select user_profile(users, $2::text) as profile
    from sessions join users on users.id = sessions.user_id
    where sessions.id = $1::text and sessions.expires_at > now() and not users.disabled
), refused as (
    select profile ->> 'public_id' as public_id
    from live
    where not (profile ->> 'is_admin')::boolean
), audited as (
    insert into audit_log
        (actor, action, outcome, reason, resource, ip_address, request_id, user_agent)
    select entry.*
    from refused, audit_entry(public_id, $4::text, 'admin.access', 'forbidden', $3::text) as entry
)
select coalesce(
    (select jsonb_build_object('outcome', 'forbidden') from refused),
    (select jsonb_build_object('outcome', 'live', 'user', profile) from live),
    jsonb_build_object('outcome', 'not_live')
)
