//! From method and path to the verb that answers.

use crate::config::Config;
use crate::context::Context;
use crate::error::Error;
use crate::http::{Request, Response};
use crate::{account, health, session, user};

/// What a path names. `{id}`s are taken as they stand; the verbs look at them.
#[derive(Debug, PartialEq, Eq)]
enum Resource<'a> {
    Healthz,
    Readyz,
    Login,
    Logout,
    Me,
    Users,
    User(&'a str),
}

impl<'a> Resource<'a> {
    /// Strict: the path is matched as it was sent, so an encoded, doubled or
    /// trailing slash names nothing.
    fn find(path: &'a str) -> Option<Self> {
        let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        Some(match segments.as_slice() {
            ["healthz"] => Self::Healthz,
            ["readyz"] => Self::Readyz,
            ["login"] => Self::Login,
            ["logout"] => Self::Logout,
            ["me"] => Self::Me,
            ["admin", "users"] => Self::Users,
            ["admin", "users", id] if !id.is_empty() => Self::User(id),
            _ => return None,
        })
    }

    /// The `Allow` header (RFC 9110, section 10.2.1).
    fn allow(&self) -> &'static str {
        match self {
            Self::Healthz | Self::Readyz | Self::Me => "GET, HEAD",
            Self::Login | Self::Logout => "POST",
            Self::Users => "GET, HEAD, POST",
            Self::User(_) => "GET, HEAD, PATCH, DELETE",
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
    if !resource.allow().split(", ").any(|allowed| allowed == method) {
        return Err(Error::MethodNotAllowed(resource.allow()));
    }
    if resource == Resource::Healthz {
        return Ok(health::healthz::handle());
    }
    let ctx = &Context::new(Config::load()?);
    match (&resource, method) {
        (Resource::Readyz, "GET") => health::readyz::handle(ctx).await,
        (Resource::Login, "POST") => session::login::handle(ctx, request).await,
        (Resource::Logout, "POST") => session::logout::handle(ctx, request).await,
        (Resource::Me, "GET") => account::me::handle(ctx, request).await,
        (Resource::Users, "GET") => user::list::handle(ctx, request).await,
        (Resource::Users, "POST") => user::create::handle(ctx, request).await,
        (Resource::User(id), "GET") => user::read::handle(ctx, request, id).await,
        (Resource::User(id), "PATCH") => user::update::handle(ctx, request, id).await,
        (Resource::User(id), "DELETE") => user::delete::handle(ctx, request, id).await,
        (resource, _) => Err(Error::MethodNotAllowed(resource.allow())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_resources() {
        assert_eq!(Resource::find("/login"), Some(Resource::Login));
        assert_eq!(Resource::find("/admin/users"), Some(Resource::Users));
        assert_eq!(Resource::find("/admin/users/a1B2c3"), Some(Resource::User("a1B2c3")));
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
