-- audit::record
-- $1 actor, text or null; $2 facts about the request, text of a JSON object
-- $3 action, text; $4 reason, text; $5 resource, text or null
with audited as (
    insert into audit_log
        (actor, action, outcome, reason, resource, ip_address, request_id, user_agent)
    select entry.*
    from audit_entry($1::text, $2::text, $3::text, $4::text, $5::text) as entry
)
select jsonb_build_object('outcome', 'recorded')
