//! Who is calling: the token or the key of a request, and what is behind it.

use edd_auth_rules::scope::Scopes;
use serde::Deserialize;
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::api_token::ApiToken;
use crate::browser;
use crate::context::Context;
use crate::db::Param;
use crate::error::Error;
use crate::http::Request;
use crate::router::id_or_mark;
use crate::token::Claims;
use crate::user::User;

const SESSION: &str = include_str!("authenticate.sql");
const ADMIN: &str = include_str!("authenticate_admin.sql");
const TOKEN: &str = include_str!("authenticate_token.sql");

#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Session {
    Live { user: User },
    Forbidden,
    NotLive,
}

/// A token of a service account, and for whom it speaks.
#[derive(Deserialize)]
pub(crate) struct Identity {
    /// The owner of the service account.
    pub(crate) user: User,
    /// The service account.
    pub(crate) service_account_id: String,
    /// What it may do.
    pub(crate) scopes: Scopes,
    /// When the token was made, in seconds since 1970.
    pub(crate) issued_at: i64,
    /// When it ends, in seconds since 1970, if it does.
    pub(crate) expires_at: Option<i64>,
}

#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Token {
    Live(Box<Identity>),
    NotLive,
}

/// The user behind the token, a session's or a service account's, as the
/// database knows it now.
///
/// # Errors
///
/// [`Error::MissingToken`] or [`Error::InvalidToken`].
pub(crate) async fn user(ctx: &Context, request: &Request) -> Result<User, Error> {
    if let Credential::Bearer(token) = credential(ctx, request)?
        && let Some(token) = ApiToken::parse(token)
    {
        return Ok(identity(ctx, &token).await?.ok_or(Error::InvalidToken)?.user);
    }
    let sid = claims(ctx, request)?.sid.to_string();
    let params = [Param::Text(&sid), Param::Text(&ctx.config.admin_username)];
    match ctx.db.one(SESSION, &params).await? {
        Session::Live { user } => Ok(user),
        Session::Forbidden | Session::NotLive => Err(Error::InvalidToken),
    }
}

/// The user behind a session's token, if it is an administrator. The claim is
/// not asked: the right may have been taken away since the login. A refusal is
/// written to the audit log.
///
/// # Errors
///
/// As [`claims`], and [`Error::Forbidden`].
pub(crate) async fn admin(ctx: &Context, request: &Request) -> Result<User, Error> {
    let sid = claims(ctx, request)?.sid.to_string();
    let segments: Vec<&str> = request.path.split('/').map(id_or_mark).collect();
    let resource = format!("{} {}", request.method, segments.join("/"));
    let facts = ctx.facts(request);
    let params = [
        Param::Text(&sid),
        Param::Text(&ctx.config.admin_username),
        Param::Text(&resource),
        Param::Text(&facts),
    ];
    match ctx.db.one(ADMIN, &params).await? {
        Session::Live { user } => Ok(user),
        Session::Forbidden => Err(Error::Forbidden),
        Session::NotLive => Err(Error::InvalidToken),
    }
}

/// The claims of a session's token. Says nothing about the session: the
/// statement of the verb looks it up, and answers `not_live`.
///
/// # Errors
///
/// [`Error::MissingToken`], [`Error::InvalidToken`], when the token is a service
/// account's, [`Error::SessionRequired`], and when another site has sent the cookie,
/// [`Error::CrossSite`].
pub(crate) fn claims(ctx: &Context, request: &Request) -> Result<Claims, Error> {
    match credential(ctx, request)? {
        Credential::Bearer(token) if ApiToken::parse(token).is_some() => {
            Err(Error::SessionRequired)
        }
        Credential::Bearer(token) | Credential::Cookie(token) => ctx.config.token_key.verify(token),
    }
}

/// The session of the cookie that came with a request, if its token is good. For
/// ending it, not for doing anything in its name.
pub(crate) fn shown_by_browser(ctx: &Context, request: &Request) -> Option<Uuid> {
    let token = browser::session_cookie(request).ok().flatten()?;
    Some(ctx.config.token_key.verify(token).ok()?.sid)
}

/// What a request shows.
enum Credential<'a> {
    /// A token of either kind, in the `Authorization` header.
    Bearer(&'a str),
    /// A session's token, in the cookie.
    Cookie(&'a str),
}

/// The header, or else the cookie. A browser sends the cookie whoever made it send
/// the request, so what changes something has to come from a page of this service.
fn credential<'a>(ctx: &Context, request: &'a Request) -> Result<Credential<'a>, Error> {
    let from_header = bearer(request);
    if !matches!(from_header, Err(Error::MissingToken)) {
        return from_header.map(Credential::Bearer);
    }
    let token = browser::session_cookie(request)?.ok_or(Error::MissingToken)?;
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        browser::check_site(request, &ctx.config.cors_allowed_origins)?;
    }
    Ok(Credential::Cookie(token))
}

/// Looks the token of a service account up, and notes that it was used.
///
/// # Errors
///
/// An error of the database.
pub(crate) async fn identity(
    ctx: &Context,
    token: &ApiToken<'_>,
) -> Result<Option<Identity>, Error> {
    let sha256 = token.sha256();
    let params = [Param::Bytes(&sha256), Param::Text(&ctx.config.admin_username)];
    match ctx.db.one(TOKEN, &params).await? {
        Token::Live(identity) => Ok(Some(*identity)),
        Token::NotLive => Ok(None),
    }
}

/// Whether a service is calling: by the key that the configuration names. Without
/// one there are no services.
///
/// # Errors
///
/// [`Error::InvalidServiceKey`].
pub(crate) fn service(ctx: &Context, request: &Request) -> Result<(), Error> {
    let key = ctx.config.service_api_key.as_ref().ok_or(Error::InvalidServiceKey)?;
    let shown = bearer(request).map_err(|_| Error::InvalidServiceKey)?;
    // Takes as long wherever the first difference is.
    if bool::from(shown.as_bytes().ct_eq(key.expose().as_bytes())) {
        Ok(())
    } else {
        Err(Error::InvalidServiceKey)
    }
}

/// The token of the `Authorization` header (RFC 6750, section 2.1; RFC 9110,
/// section 11.4: the scheme is case-insensitive, one space or more follow it).
pub(crate) fn bearer(request: &Request) -> Result<&str, Error> {
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
    use proptest::prelude::*;

    use super::*;

    fn bearer_of(values: &[&str]) -> Result<String, Error> {
        let headers: Vec<(&str, &[u8])> =
            values.iter().map(|value| ("authorization", value.as_bytes())).collect();
        let request = Request::of_test(&headers, "");
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

    proptest! {
        #[test]
        fn a_token_is_read_as_it_was_sent(scheme in "(?i)bearer", gap in " {1,3}", token in "[!-~]{1,80}") {
            let read = bearer_of(&[&format!("{scheme}{gap}{token}")]);
            prop_assert_eq!(read.expect("a token"), token);
        }

        #[test]
        fn no_other_scheme_is_taken_for_it(
            value in prop_oneof!["[A-Za-z]{0,8}[ \t,=:]{0,2}.{0,20}", "(?i)b[a-z]{5}[\t,:]?.{0,9}"],
        ) {
            prop_assume!(!value.to_ascii_lowercase().starts_with("bearer "));
            prop_assert!(matches!(bearer_of(&[&value]), Err(Error::InvalidToken)), "{}", value);
        }

        #[test]
        fn bytes_that_are_no_text_and_second_headers_are_refused(
            token in "[!-~]{1,40}",
            junk in prop::collection::vec(128_u8.., 1..4),
        ) {
            prop_assume!(std::str::from_utf8(&junk).is_err());
            let value = format!("Bearer {token}");
            let broken = [value.as_bytes(), &junk].concat();
            for headers in [
                &[("authorization", broken.as_slice())][..],
                &[("authorization", value.as_bytes()), ("authorization", value.as_bytes())],
            ] {
                let request = Request::of_test(headers, "");
                prop_assert!(matches!(bearer(&request), Err(Error::InvalidToken)));
            }
        }
    }
}
