//! What the targets of `fuzz/` call: a function for each, which panics when something
//! that always holds does not. Here because the rest of this crate is private.

#![expect(clippy::missing_panics_doc, reason = "a panic is how a target says no")]

use std::sync::LazyLock;

use serde::de::DeserializeOwned;

use crate::api_token::ApiToken;
use crate::authenticate;
use crate::error::Error;
use crate::http::{self, Body, Request, Response};
use crate::input::{self, Query};
use crate::page::{self, Cursor};
use crate::precondition;
use crate::router::{Resource, id_or_mark};
use crate::token::{Keys, TokenKey};
use crate::{account, api_token, service_account, session, user};

/// Reads the body of a request as a verb does, and says no more than whether it can.
pub(crate) type Read = fn(&Request) -> Result<(), Error>;

/// Every verb that reads JSON.
pub(crate) const BODIES: [(&str, Read); 9] = [
    ("POST /login", read::<session::login::Input>),
    ("PATCH /me", read::<account::update::Input>),
    ("PUT /me/password", read::<account::password::Input>),
    ("POST /admin/users", read::<user::create::Input>),
    ("PATCH /admin/users/{id}", read::<user::update::Input>),
    ("PUT /admin/users/{id}/password", read::<user::password::Input>),
    ("POST /service-accounts", read::<service_account::create::Input>),
    ("PUT /service-accounts/{id}/scopes", read::<service_account::scopes::Input>),
    ("POST /service-accounts/{id}/tokens", read::<api_token::create::Input>),
];

fn read<T: DeserializeOwned>(request: &Request) -> Result<(), Error> {
    input::json::<T>(request).map(drop)
}

/// The key that seals and signs here. It is no secret: the corpus has texts of it.
pub(crate) fn key() -> &'static TokenKey {
    static KEY: LazyLock<TokenKey> = LazyLock::new(|| {
        let keys = Keys {
            secret: "the key of the fuzz targets, which is no secret",
            previous_secret: None,
            signing_key: None,
            previous_signing_key: None,
        };
        TokenKey::new(&keys, "edd-cloud-auth".to_owned(), "edd-cloud".to_owned())
    });
    &KEY
}

/// A path that names something has no empty segment, and what is no name of the API's
/// own in it is an id, as it was sent, or a mark where it can be none.
pub fn path(path: &str) {
    let Some(resource) = Resource::find(path) else {
        return;
    };
    let segments = path.strip_prefix('/').expect("it begins with a slash").split('/');
    let resource = format!("{resource:?}");
    for segment in segments {
        let is_name =
            segment.bytes().all(|byte| byte.is_ascii_lowercase() || b"-.".contains(&byte));
        assert!(!segment.is_empty());
        let shown = format!("{:?}", id_or_mark(segment));
        assert!(is_name || resource.contains(&shown), "{path:?} is {resource}");
    }
}

/// A body that a verb takes is a JSON object; one that it refuses is a 400, which says
/// why in JSON. The first byte chooses the verb.
pub fn body(input: &[u8]) {
    let Some((choice, body)) = input.split_first() else {
        return;
    };
    let (verb, read) = BODIES[usize::from(*choice) % BODIES.len()];
    let head = Request::of_test(&[("content-type", b"application/json")], "");
    match read(&Request { body: body.to_vec(), ..head }) {
        Ok(()) => {
            let value: serde_json::Value = serde_json::from_slice(body).expect("JSON");
            assert!(value.is_object(), "{verb} has taken {value}");
        }
        Err(error) => assert_bad_request(&error),
    }
}

/// A query or a form gives a parameter once or not at all, and a limit that counts.
pub fn query(input: &[u8]) {
    let head = Request::of_test(&[("content-type", b"application/x-www-form-urlencoded")], "");
    let request = Request {
        query: String::from_utf8_lossy(input).into_owned(),
        body: input.to_vec(),
        ..head
    };
    for query in [Query::of(&request), Query::of_form(&request).expect("a form")] {
        match page::limit_of(&query) {
            Ok(limit) => assert!((1..=500).contains(&limit)),
            Err(error) => assert_bad_request(&error),
        }
        match query.get("q") {
            Ok(q) => assert!(!q.is_some_and(|q| q.contains(char::is_control))),
            Err(error) => assert_bad_request(&error),
        }
        if let Err(error) = query.get_any("token") {
            assert_bad_request(&error);
        }
    }
}

/// The credentials of a request are one header of one scheme. Each line is a header.
pub fn authorization(input: &[u8]) {
    let lines: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
    let headers: Vec<(&str, &[u8])> = lines.iter().map(|line| ("authorization", *line)).collect();
    match authenticate::bearer(&Request::of_test(&headers, "")) {
        Ok(token) => {
            assert_eq!(lines.len(), 1);
            let scheme = lines[0].get(..7).expect("a scheme");
            assert!(
                scheme.eq_ignore_ascii_case(b"bearer ") && lines[0].ends_with(token.as_bytes())
            );
            self::token(token);
        }
        Err(error) => assert_eq!(Response::from(&error).status, 401),
    }
}

/// A text is the token of a service account, of a session, or none, never both.
pub fn token(text: &str) {
    let session = key().verify(text);
    if ApiToken::parse(text).is_some() {
        assert!(text.len() == 45 && session.is_err());
    }
    if let Err(error) = session {
        assert_eq!(Response::from(&error).status, 401);
    }
}

/// A text that opens as a cursor is, to the letter, the one that was given out for it.
pub fn cursor(text: &str) {
    if let Some(cursor) = Cursor::unseal(text, key()) {
        assert_eq!(cursor.seal(key()).expect("sealed"), text);
    }
}

/// The other headers that are looked into. Each line is a header: its name, a colon, its
/// value.
pub fn headers(input: &[u8]) {
    const NAMES: [&str; 5] =
        ["if-match", "x-forwarded-for", "x-request-id", "user-agent", "spin-client-addr"];
    let headers: Vec<(&str, &[u8])> = input
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let name = NAMES.into_iter().find(|name| name.as_bytes() == &line[..colon])?;
            Some((name, &line[colon + 1..]))
        })
        .collect();
    let request = Request::of_test(&headers, "");
    match precondition::versions(&request) {
        Ok(versions) => assert!(
            versions.unwrap_or_default().bytes().all(|byte| byte.is_ascii_digit() || byte == b',')
        ),
        Err(error) => assert_bad_request(&error),
    }
    let id = http::request_id(&request);
    assert!((1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()));
    for hops in 0..4 {
        let facts: serde_json::Value = serde_json::from_str(&request.facts(hops)).expect("JSON");
        // PostgreSQL's jsonb takes no other.
        let user_agent = facts["user_agent"].as_str().unwrap_or_default();
        assert!(!user_agent.contains(char::is_control));
    }
}

fn assert_bad_request(error: &Error) {
    let response = Response::from(error);
    assert_eq!(response.status, 400);
    let Body::Bytes("application/problem+json", body) = response.body else {
        panic!("it says nothing");
    };
    let problem: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert!(problem["detail"].is_string());
}
