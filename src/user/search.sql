-- user::list, with a text to look for
-- $1 page size, int8; $2 id after which the page starts, text or null; $3 ADMIN_USERNAME, text
-- $4 text to look for, text
with found as (
    -- One more than the page holds tells whether there is another page.
    select account, row_number() over (order by account.id) as place
    from search_users($4::text, coalesce($2::text::integer, 0), $1::bigint + 1) as account
)
select jsonb_build_object(
    'users', coalesce(
        jsonb_agg(user_profile(account, $3::text) order by place) filter (where place <= $1::bigint),
        '[]'),
    'next_after', case when count(*) > $1::bigint
        then (max((account).id) filter (where place <= $1::bigint))::text end)
from found
