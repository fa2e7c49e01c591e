//! From method and path to the verb that answers.

use crate::browser;
use crate::config::Config;
use crate::context::Context;
use crate::error::Error;
use crate::http::{Request, Response};
use crate::{
    account, api_token, audit, discovery, health, openapi, service, service_account, session, user,
};

/// What a path names. `{id}`s that can be none are marks; the verbs look at the
/// others.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Resource<'a> {
    Healthz,
    Readyz,
    OpenApi,
    Login,
    Logout,
    Me,
    MyPassword,
    MySessions,
    MySession(&'a str),
    Users,
    User(&'a str),
    UserPassword(&'a str),
    Sessions,
    Session(&'a str),
    Audit,
    ServiceAccounts,
    ServiceAccount(&'a str),
    Scopes(&'a str),
    Tokens(&'a str),
    Token(&'a str, &'a str),
    Introspect,
    SnapshotUsers,
    SnapshotIdentities,
    Jwks,
    OpenidConfiguration,
}

/// A segment of a path as the audit log may keep it: an id has at most 12
/// characters, or the 36 of a UUID, and the routes have short names. What else
/// stands in a path may be a token or a password; the mark in its place can be no
/// id, so that nothing is found by it.
pub(crate) fn id_or_mark(segment: &str) -> &str {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if matches!(segment.len(), 0..=12 | 36) && segment.bytes().all(plain) { segment } else { "?" }
}

impl<'a> Resource<'a> {
    /// Strict: the path is matched as it was sent, so an encoded, doubled or
    /// trailing slash names nothing.
    pub(crate) fn find(path: &'a str) -> Option<Self> {
        let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        if segments.contains(&"") {
            return None;
        }
        let id = id_or_mark;
        Some(match segments.as_slice() {
            ["healthz"] => Self::Healthz,
            ["readyz"] => Self::Readyz,
            ["login"] => Self::Login,
            ["logout"] => Self::Logout,
            ["openapi.json"] => Self::OpenApi,
            ["me"] => Self::Me,
            ["me", "password"] => Self::MyPassword,
            ["me", "sessions"] => Self::MySessions,
            ["me", "sessions", session] => Self::MySession(id(session)),
            ["admin", "users"] => Self::Users,
            ["admin", "users", user] => Self::User(id(user)),
            ["admin", "users", user, "password"] => Self::UserPassword(id(user)),
            ["admin", "sessions"] => Self::Sessions,
            ["admin", "sessions", session] => Self::Session(id(session)),
            ["admin", "audit"] => Self::Audit,
            ["service-accounts"] => Self::ServiceAccounts,
            ["service-accounts", account] => Self::ServiceAccount(id(account)),
            ["service-accounts", account, "scopes"] => Self::Scopes(id(account)),
            ["service-accounts", account, "tokens"] => Self::Tokens(id(account)),
            ["service-accounts", account, "tokens", token] => Self::Token(id(account), id(token)),
            ["introspect"] => Self::Introspect,
            ["snapshot", "users"] => Self::SnapshotUsers,
            ["snapshot", "identities"] => Self::SnapshotIdentities,
            [".well-known", "jwks.json"] => Self::Jwks,
            [".well-known", "openid-configuration"] => Self::OpenidConfiguration,
            _ => return None,
        })
    }

    /// Routes that are not there without the key of the services.
    fn is_for_services(&self) -> bool {
        matches!(self, Self::Introspect | Self::SnapshotUsers | Self::SnapshotIdentities)
    }

    /// The `Allow` header (RFC 9110, section 10.2.1).
    fn allow(&self) -> &'static str {
        match self {
            Self::Healthz
            | Self::Readyz
            | Self::OpenApi
            | Self::Sessions
            | Self::Audit
            | Self::SnapshotUsers
            | Self::SnapshotIdentities
            | Self::Jwks
            | Self::OpenidConfiguration => "GET, HEAD",
            Self::Login | Self::Logout | Self::Introspect => "POST",
            Self::Me => "GET, HEAD, PATCH",
            Self::Users | Self::ServiceAccounts | Self::Tokens(_) => "GET, HEAD, POST",
            Self::User(_) => "GET, HEAD, PATCH, DELETE",
            Self::MySessions | Self::ServiceAccount(_) => "GET, HEAD, DELETE",
            Self::MyPassword | Self::UserPassword(_) | Self::Scopes(_) => "PUT",
            Self::MySession(_) | Self::Session(_) | Self::Token(..) => "DELETE",
        }
    }
}

/// Answers a request.
///
/// # Errors
///
/// Any [`Error`]: the caller makes a response of it.
pub(crate) async fn answer(request: &Request) -> Result<Response, Error> {
    let resource = Resource::find(&request.path).ok_or(Error::UnknownRoute)?;
    // HEAD is GET to every verb; the HTTP server leaves the body out.
    let method = match request.method.as_str() {
        "HEAD" => "GET",
        method => method,
    };
    if browser::is_preflight(request) {
        return browser::preflight(request, &Config::load_origins()?, resource.allow());
    }
    // These two need no configuration.
    match (&resource, method) {
        (Resource::Healthz, "GET") => return Ok(health::healthz::handle()),
        (Resource::OpenApi, "GET") => return Ok(openapi::handle()),
        (Resource::Healthz | Resource::OpenApi, _) => {
            return Err(Error::MethodNotAllowed(resource.allow()));
        }
        _ => {}
    }
    let config = Config::load()?;
    if resource.is_for_services() && config.service_api_key.is_none() {
        return Err(Error::UnknownRoute);
    }
    dispatch(&Context::new(config), request, &resource, method).await
}

/// The verb of a resource and a method.
async fn dispatch(
    ctx: &Context,
    request: &Request,
    resource: &Resource<'_>,
    method: &str,
) -> Result<Response, Error> {
    match (resource, method) {
        (Resource::Readyz, "GET") => health::readyz::handle(ctx).await,
        (Resource::Login, "POST") => session::login::handle(ctx, request).await,
        (Resource::Logout, "POST") => session::logout::handle(ctx, request).await,
        (Resource::Me, "GET") => account::me::handle(ctx, request).await,
        (Resource::Me, "PATCH") => account::update::handle(ctx, request).await,
        (Resource::MyPassword, "PUT") => account::password::handle(ctx, request).await,
        (Resource::MySessions, "GET") => session::list_own::handle(ctx, request).await,
        (Resource::MySessions, "DELETE") => session::end_others::handle(ctx, request).await,
        (Resource::MySession(id), "DELETE") => session::end_own::handle(ctx, request, id).await,
        (Resource::Users, "GET") => user::list::handle(ctx, request).await,
        (Resource::Users, "POST") => user::create::handle(ctx, request).await,
        (Resource::User(id), "GET") => user::read::handle(ctx, request, id).await,
        (Resource::User(id), "PATCH") => user::update::handle(ctx, request, id).await,
        (Resource::User(id), "DELETE") => user::delete::handle(ctx, request, id).await,
        (Resource::UserPassword(id), "PUT") => user::password::handle(ctx, request, id).await,
        (Resource::Sessions, "GET") => session::list::handle(ctx, request).await,
        (Resource::Session(id), "DELETE") => session::end::handle(ctx, request, id).await,
        (Resource::Audit, "GET") => audit::list::handle(ctx, request).await,
        (Resource::ServiceAccounts, "GET") => service_account::list::handle(ctx, request).await,
        (Resource::ServiceAccounts, "POST") => service_account::create::handle(ctx, request).await,
        (Resource::ServiceAccount(id), "GET") => {
            service_account::read::handle(ctx, request, id).await
        }
        (Resource::ServiceAccount(id), "DELETE") => {
            service_account::delete::handle(ctx, request, id).await
        }
        (Resource::Scopes(id), "PUT") => service_account::scopes::handle(ctx, request, id).await,
        (Resource::Tokens(id), "GET") => api_token::list::handle(ctx, request, id).await,
        (Resource::Tokens(id), "POST") => api_token::create::handle(ctx, request, id).await,
        (Resource::Token(id, token_id), "DELETE") => {
            api_token::revoke::handle(ctx, request, id, token_id).await
        }
        (Resource::Introspect, "POST") => service::introspect::handle(ctx, request).await,
        (Resource::SnapshotUsers, "GET") => service::snapshot::users(ctx, request).await,
        (Resource::SnapshotIdentities, "GET") => service::snapshot::identities(ctx, request).await,
        (Resource::Jwks, "GET") => Ok(discovery::jwks::handle(ctx)),
        (Resource::OpenidConfiguration, "GET") => discovery::openid_configuration::handle(ctx),
        (resource, _) => Err(Error::MethodNotAllowed(resource.allow())),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::mem::discriminant;
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    /// The paths of `docs/openapi.yaml`.
    static TEMPLATES: LazyLock<Vec<String>> = LazyLock::new(|| {
        let document: serde_json::Value = serde_json::from_str(openapi::DOCUMENT).expect("JSON");
        document["paths"].as_object().expect("paths").keys().cloned().collect()
    });

    fn is_parameter(segment: &str) -> bool {
        segment.starts_with('{')
    }

    /// The segments of a path that stand for the parameters of a template, if the path
    /// is one of it.
    fn parameters<'a>(template: &str, path: &'a str) -> Option<Vec<&'a str>> {
        if template.matches('/').count() != path.matches('/').count() {
            return None;
        }
        let pairs = || template.split('/').zip(path.split('/'));
        pairs()
            .all(|(t, p)| if is_parameter(t) { !p.is_empty() } else { t == p })
            .then(|| pairs().filter(|(t, _)| is_parameter(t)).map(|(_, p)| p).collect())
    }

    fn ids<'a>(resource: &Resource<'a>) -> Vec<&'a str> {
        match resource {
            Resource::MySession(id)
            | Resource::User(id)
            | Resource::UserPassword(id)
            | Resource::Session(id)
            | Resource::ServiceAccount(id)
            | Resource::Scopes(id)
            | Resource::Tokens(id) => vec![id],
            Resource::Token(id, token_id) => vec![id, token_id],
            _ => Vec::new(),
        }
    }

    /// A segment that the router knows, one that an attacker would try, or any other.
    fn a_segment() -> impl Strategy<Value = String> {
        let words: HashSet<String> = TEMPLATES
            .iter()
            .flat_map(|template| template.split('/'))
            .filter(|segment| !segment.is_empty() && !is_parameter(segment))
            .map(str::to_owned)
            .collect();
        let odd = [
            "",
            ".",
            "..",
            "%2f",
            "%2F",
            "%00",
            "%2e%2e",
            "\0",
            "\\",
            "*",
            "me%2fpassword",
            "%6de",
        ];
        prop_oneof![
            8 => prop::sample::select(words.into_iter().collect::<Vec<_>>()),
            2 => "[0-9A-Za-z]{6}",
            2 => prop::sample::select(odd.map(str::to_owned).to_vec()),
            1 => "[^/]{0,8}",
        ]
    }

    /// A path of such segments, or of a template with such segments for its parameters.
    fn a_path() -> impl Strategy<Value = String> {
        let segments = || prop::collection::vec(a_segment(), 0..6);
        let of_template =
            (prop::sample::select(TEMPLATES.as_slice()), segments()).prop_map(|(t, mut s)| {
                let of =
                    |t: &str| if is_parameter(t) { s.pop().unwrap_or_default() } else { t.into() };
                t.split('/').map(of).collect::<Vec<String>>().join("/")
            });
        prop_oneof![of_template, segments().prop_map(|segments| format!("/{}", segments.join("/")))]
    }

    proptest! {
        #[test]
        fn a_path_names_what_the_document_says_and_nothing_else(path in a_path()) {
            let expected: Vec<Vec<&str>> =
                TEMPLATES.iter().filter_map(|template| parameters(template, &path)).collect();
            let found = Resource::find(&path);
            // One at most: no path is of two templates.
            prop_assert!(expected.len() <= 1);
            let expected = expected.into_iter().next();
            let expected = expected.map(|ids| ids.into_iter().map(id_or_mark).collect::<Vec<_>>());
            prop_assert_eq!(found.as_ref().map(ids), expected);
        }

        #[test]
        fn any_text_is_looked_at_without_a_panic(path in any::<String>()) {
            let named = Resource::find(&path).is_some();
            prop_assert!(!named || path.starts_with('/'));
        }
    }

    #[test]
    fn two_templates_are_two_resources() {
        let templates: Vec<String> = TEMPLATES.iter().map(|t| t.replace(['{', '}'], "")).collect();
        let resources: HashSet<_> = templates
            .iter()
            .map(|path| discriminant(&Resource::find(path).expect("a documented path")))
            .collect();
        assert_eq!(resources.len(), templates.len());
    }

    #[test]
    fn paths_name_resources() {
        assert_eq!(Resource::find("/login"), Some(Resource::Login));
        assert_eq!(Resource::find("/admin/users"), Some(Resource::Users));
        assert_eq!(Resource::find("/admin/users/a1B2c3"), Some(Resource::User("a1B2c3")));
    }

    #[test]
    fn what_can_be_no_id_is_not_kept() {
        for text in ["hunter2hunter2", "correct%20horse", "ecloud_aaaaaa", "a.b", "?"] {
            assert_eq!(
                Resource::find(&format!("/me/sessions/{text}")),
                Some(Resource::MySession("?"))
            );
        }
        let session = "01a214b0-2c34-76a6-80c5-091fb651bf82";
        let path = format!("/admin/sessions/{session}");
        assert_eq!(Resource::find(&path), Some(Resource::Session(session)));
    }

    #[test]
    fn nothing_is_normalised_or_decoded() {
        for path in [
            "",
            "/",
            "login",
            "//login",
            "/login/",
            "/Login",
            "/./login",
            "/a/../login",
            "/%6cogin",
            "/login%00",
            "/admin/users/",
            "/admin//users",
            "/admin/users/a/b",
            "/admin%2fusers",
            "*",
            "/login;a=b",
        ] {
            assert_eq!(Resource::find(path), None, "{path}");
        }
    }
}
