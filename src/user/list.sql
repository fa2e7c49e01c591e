-- user::list
-- $1 page size, int8; $2 id after which the page starts, int4
-- $3 text to look for in the names, text or null; $4 ADMIN_USERNAME, text
with found as (
    -- One more than the page holds tells whether there is another page.
    select users as account, row_number() over (order by id) as place
    from users
    where id > $2::integer
      and ($3::text is null
           or strpos(lower(username), lower($3::text)) > 0
           or strpos(lower(display_name), lower($3::text)) > 0)
    order by id
    limit $1::bigint + 1
)
select jsonb_build_object(
    'users', coalesce(
        jsonb_agg(user_json(account, $4::text) order by place) filter (where place <= $1::bigint),
        '[]'),
    'next_after', case when count(*) > $1::bigint
        then max((account).id) filter (where place <= $1::bigint) end)
from found
