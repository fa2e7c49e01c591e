-- api_token::revoke
-- $1 session id, text; $2 id of the service account, text; $3 id of the token, text
-- $4 facts about the request, text of a JSON object
with owner as (
    select users.id, users.public_id
    from sessions join users on users.id = sessions.user_id
    where sessions.id = $1::text and sessions.expires_at > now() and not users.disabled
), revoked as (
    delete from api_tokens using service_accounts, owner
    where api_tokens.id = $3::text and service_accounts.id = $2::text
      and api_tokens.service_account_id = service_accounts.id
      and service_accounts.owner_id = owner.id
    returning api_tokens.id
), result as (
    select public_id,
           case when exists (select from revoked) then 'revoked' else 'not_found' end as outcome
    from owner
), audited as (
    insert into audit_log
        (actor, action, outcome, reason, resource, ip_address, request_id, user_agent)
    select entry.*
    from result, audit_entry(
        public_id, $4::text, 'token.revoke', nullif(outcome, 'revoked'), 'token:' || $3::text)
        as entry
)
select jsonb_build_object('outcome', coalesce((select outcome from result), 'not_live'))
