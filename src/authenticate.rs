//! Who is calling: the bearer token of a request, and the session behind it.

use serde::Deserialize;

use crate::context::Context;
use crate::db::Param;
use crate::error::Error;
use crate::http::Request;
use crate::token::Claims;
use crate::user::User;

const SQL: &str = include_str!("authenticate.sql");

#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Output {
    Live { user: User },
    Ended,
}

/// The user behind the token, as the database knows it now.
///
/// # Errors
///
/// [`Error::MissingToken`] or [`Error::InvalidToken`].
pub(crate) async fn user(ctx: &Context, request: &Request) -> Result<User, Error> {
    let sid = claims(ctx, request)?.sid.to_string();
    let params = [Param::Text(&sid), Param::Text(&ctx.config.admin_username)];
    match ctx.db.one(SQL, &params).await? {
        Output::Live { user } => Ok(user),
        Output::Ended => Err(Error::InvalidToken),
    }
}

/// The same, if the user is an administrator. The claim is not asked: the right
/// may have been taken away since the login.
///
/// # Errors
///
/// As [`user`], and [`Error::Forbidden`].
pub(crate) async fn admin(ctx: &Context, request: &Request) -> Result<User, Error> {
    let user = user(ctx, request).await?;
    if user.is_admin { Ok(user) } else { Err(Error::Forbidden) }
}

/// The claims of the bearer token. Says nothing about the session.
///
/// # Errors
///
/// [`Error::MissingToken`] or [`Error::InvalidToken`].
pub(crate) fn claims(ctx: &Context, request: &Request) -> Result<Claims, Error> {
    ctx.config.token_key.verify(bearer(request)?)
}

/// The token of the `Authorization` header (RFC 6750, section 2.1; RFC 9110,
/// section 11.4: the scheme is case-insensitive, one space or more follow it).
fn bearer(request: &Request) -> Result<&str, Error> {
    if request.header_values("authorization").next().is_none() {
        return Err(Error::MissingToken);
    }
    let value = request.header("authorization").ok_or(Error::InvalidToken)?;
    let (scheme, token) = value.split_once(' ').ok_or(Error::InvalidToken)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Error::InvalidToken);
    }
    Ok(token.trim_start_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer_of(values: &[&str]) -> Result<String, Error> {
        let request = Request {
            method: "GET".to_owned(),
            path: "/me".to_owned(),
            query: String::new(),
            headers: values
                .iter()
                .map(|value| ("authorization".to_owned(), value.as_bytes().to_vec()))
                .collect(),
            body: Vec::new(),
        };
        bearer(&request).map(str::to_owned)
    }

    #[test]
    fn the_scheme_is_case_insensitive() {
        for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c"] {
            assert_eq!(bearer_of(&[value]).expect("a token"), "a.b.c");
        }
    }

    #[test]
    fn no_header_is_missing_and_any_other_header_is_invalid() {
        assert!(matches!(bearer_of(&[]), Err(Error::MissingToken)));
        for values in [&["Basic YTpi"][..], &["Bearer"], &[""], &["Bearer a", "Bearer b"]] {
            assert!(matches!(bearer_of(values), Err(Error::InvalidToken)), "{values:?}");
        }
    }
}
