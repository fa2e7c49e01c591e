-- service_account::read
-- $1 session id, text; $2 id of the account, text
with owner as (
    select users.id
    from sessions join users on users.id = sessions.user_id
    where sessions.id = $1::text and sessions.expires_at > now() and not users.disabled
)
select coalesce(
    (select jsonb_build_object(
         'outcome', 'found', 'service_account', service_account_json(service_accounts))
     from service_accounts join owner on owner.id = owner_id
     where service_accounts.id = $2::text),
    (select jsonb_build_object('outcome', 'not_found') from owner),
    jsonb_build_object('outcome', 'not_live')
)
