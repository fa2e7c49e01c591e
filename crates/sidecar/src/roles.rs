//! The database roles that the component and the sidecar log in with. They may do
//! what their statements need, and no more (docs/adr/0015).

use std::fmt::{Display, Formatter};

use anyhow::{Context, bail};
use postgres_protocol::password::scram_sha_256;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::config::ConfigError;
use crate::lock;

/// What the roles may do, with places for names in it.
const GRANTS: &str = include_str!("roles.sql");

/// The setting that names the roles.
const FLAG: &str = "--app-role";

/// What follows the name of the component's role in that of the sidecar's.
const SIDECAR_SUFFIX: &str = "_sidecar";

/// PostgreSQL cuts longer names.
const MAX_NAME_BYTES: usize = 63;

/// A role that a program logs in with.
struct Role {
    name: String,
    /// What the server keeps in place of a password, if it is to be set. Computed
    /// here, so that the password itself never gets to the server, and so neither
    /// to its log.
    verifier: Option<String>,
    /// The environment variable with the password.
    variable: &'static str,
}

/// Both roles.
pub struct Roles {
    app: Role,
    sidecar: Role,
}

impl Roles {
    /// `NAME` for the component and `NAME_sidecar` for the sidecar, each with a
    /// password to be set, if there is one.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the name is none that needs no quotes anywhere.
    pub fn new(
        name: &str,
        app_password: Option<String>,
        sidecar_password: Option<String>,
    ) -> Result<Self, ConfigError> {
        let longest = MAX_NAME_BYTES - SIDECAR_SUFFIX.len();
        let is_letter = |c: char| c.is_ascii_lowercase() || c == '_';
        let sane = name.starts_with(is_letter)
            && name.chars().all(|c| is_letter(c) || c.is_ascii_digit())
            && name.len() <= longest
            && !name.starts_with("pg_")
            && !matches!(name, "none" | "public");
        if !sane {
            return Err(ConfigError::new(
                FLAG,
                format!(
                    "is not a name for a role: a lower-case letter or underscore, then \
                     lower-case letters, digits and underscores, {longest} in all; not public, \
                     none or pg_…"
                ),
            ));
        }
        let role = |name: String, password: Option<String>, variable| Role {
            name,
            verifier: password
                .filter(|password| !password.is_empty())
                .map(|password| scram_sha_256(password.as_bytes())),
            variable,
        };
        Ok(Self {
            app: role(name.to_owned(), app_password, "APP_ROLE_PASSWORD"),
            sidecar: role(
                format!("{name}{SIDECAR_SUFFIX}"),
                sidecar_password,
                "SIDECAR_ROLE_PASSWORD",
            ),
        })
    }

    /// The name of the component's role.
    #[must_use]
    pub fn app(&self) -> &str {
        &self.app.name
    }

    /// The name of the sidecar's role.
    #[must_use]
    pub fn sidecar(&self) -> &str {
        &self.sidecar.name
    }
}

/// What became of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prepared<'a> {
    name: &'a str,
    variable: &'static str,
    created: bool,
    password_set: bool,
}

impl Display for Prepared<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Self { name, variable, .. } = self;
        match (self.created, self.password_set) {
            (true, true) => write!(f, "role {name}: created, with the password of {variable}"),
            (true, false) => write!(
                f,
                "role {name}: created, without a password; set one with \\password {name} in \
                 psql, or with {variable} and this command"
            ),
            (false, true) => {
                write!(f, "role {name}: granted anew, with the password of {variable}")
            }
            (false, false) => write!(f, "role {name}: granted anew, its password left as it was"),
        }
    }
}

/// Creates the roles that are missing, and sees to it that both may do what
/// `roles.sql` says and nothing else. All or nothing; as often as one likes.
///
/// # Errors
///
/// [`ConfigError`] when one of the roles is there and may do what no grant gives,
/// such as the owner; a database error, for one when the connection's user may not
/// create roles or does not own the database.
pub async fn prepare<'a>(
    connection: &mut PgConnection,
    roles: &'a Roles,
) -> anyhow::Result<[Prepared<'a>; 2]> {
    let mut transaction = connection.begin().await?;
    // Two that change the same rights at once would be an error of one of them.
    sqlx::query("select pg_advisory_xact_lock($1)")
        .bind(lock::ROLES)
        .execute(&mut *transaction)
        .await?;
    let prepared = [
        ensure(&mut transaction, &roles.app).await?,
        ensure(&mut transaction, &roles.sidecar).await?,
    ];
    let (schema, database): (String, String) =
        sqlx::query_as("select current_schema()::text, current_database()::text")
            .fetch_one(&mut *transaction)
            .await?;
    let grants = GRANTS
        .replace("{app}", &quoted(roles.app()))
        .replace("{sidecar}", &quoted(roles.sidecar()))
        .replace("{schema}", &quoted(&schema))
        .replace("{database}", &quoted(&database));
    sqlx::raw_sql(AssertSqlSafe(grants)).execute(&mut *transaction).await.context("grants")?;
    for role in [roles.app(), roles.sidecar()] {
        refuse_creators(&mut transaction, role).await?;
    }
    transaction.commit().await?;
    Ok(prepared)
}

/// Creates a role, or takes one that is there and has no more rights than grants
/// give.
async fn ensure<'a>(connection: &mut PgConnection, role: &'a Role) -> anyhow::Result<Prepared<'a>> {
    let found: Option<(bool, bool, bool, bool)> = sqlx::query_as(
        "select rolcanlogin, \
                rolsuper or rolcreatedb or rolcreaterole or rolreplication or rolbypassrls, \
                exists (select from pg_auth_members where member = pg_roles.oid), \
                rolname = current_user or exists (\
                    select from pg_shdepend \
                    where refclassid = 'pg_authid'::regclass and refobjid = pg_roles.oid \
                      and deptype = 'o' \
                      and dbid in (0, (select oid from pg_database \
                                       where datname = current_database()))) \
         from pg_roles where rolname = $1",
    )
    .bind(&role.name)
    .fetch_optional(&mut *connection)
    .await?;
    let refused = |problem: &str| {
        let problem = format!("names the role {}, which {problem}; choose another", role.name);
        Err(ConfigError::new(FLAG, problem).into())
    };
    let verb = match found {
        Some((_, _, _, true)) => return refused("owns a database, a table or the like"),
        Some((_, true, _, _)) => return refused("has attributes such as SUPERUSER or CREATEROLE"),
        Some((_, _, true, _)) => return refused("is a member of another role"),
        Some((true, ..)) if role.verifier.is_none() => None,
        Some(_) => Some("alter"),
        None => Some("create"),
    };
    if let Some(verb) = verb {
        let password = role.verifier.as_ref().map(|verifier| format!(" password '{verifier}'"));
        let statement =
            format!("{verb} role {} login{}", quoted(&role.name), password.unwrap_or_default());
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(connection)
            .await
            .with_context(|| format!("{verb} role {}", role.name))?;
    }
    Ok(Prepared {
        name: &role.name,
        variable: role.variable,
        created: found.is_none(),
        password_set: role.verifier.is_some(),
    })
}

/// A REVOKE by somebody who did not give the right is a warning and takes nothing.
async fn refuse_creators(connection: &mut PgConnection, role: &str) -> anyhow::Result<()> {
    let may_create: bool = sqlx::query_scalar(
        "select has_schema_privilege($1, current_schema(), 'create') \
             or has_database_privilege($1, current_database(), 'create, temporary')",
    )
    .bind(role)
    .fetch_one(connection)
    .await?;
    if may_create {
        bail!(
            "the role {role} would still be allowed to create tables; run this as the owner of \
             the database"
        );
    }
    Ok(())
}

/// A name as an identifier of SQL.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_needs_no_quotes() {
        let new = |name: &str| Roles::new(name, None, None).map_err(|error| error.to_string());
        for name in ["auth_app", "_", "a1", &"a".repeat(55)] {
            let roles = new(name).expect("accepted");
            assert_eq!(roles.app(), name);
            assert_eq!(roles.sidecar(), format!("{name}_sidecar"));
        }
        for name in [
            "",
            "1a",
            "Auth",
            "auth app",
            "auth-app",
            "a\"; drop table users; --",
            "ä",
            "pg_auth",
            "public",
            "none",
            &"a".repeat(56),
        ] {
            let error = new(name).err().expect(name);
            assert!(error.starts_with("--app-role is not a name"), "{error}");
        }
    }

    #[test]
    fn identifiers_are_quoted() {
        assert_eq!(quoted("auth"), "\"auth\"");
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
    }
}
