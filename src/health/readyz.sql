-- health::readyz
-- no parameters
select jsonb_build_object('schema_version', coalesce(max(version), 0))
from _sqlx_migrations
where success
