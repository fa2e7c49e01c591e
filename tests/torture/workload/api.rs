//! One request: from the operation to what the client knows of it.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::Recorder;
use crate::history::{Facts, Operation, Outcome, Record, UserChange, password};

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long, in milliseconds, when it is in a hurry: it hangs up in the middle of it.
const HURRY: std::ops::Range<u64> = 2..60;

/// Of so many requests one is in a hurry.
const HURRIED: u64 = 25;

/// The way of one client to the service.
pub(crate) struct Api {
    addresses: Vec<String>,
    current: usize,
    number: usize,
    seed: u64,
    requests: u64,
    random: fastrand::Rng,
    http: Client<HttpConnector, Full<Bytes>>,
    recorder: Recorder,
}

/// What a client gets.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It was done; the body.
    Done(Facts, Value),
    /// It was not; the code.
    Refused(String),
    /// It never left this client: nobody listened.
    Unsent,
    /// It may have been done.
    Unknown,
}

/// A request on its way.
struct Call {
    method: &'static str,
    path: String,
    body: Option<Value>,
}

impl Api {
    pub(crate) fn new(
        addresses: Vec<String>,
        number: usize,
        seed: u64,
        recorder: Recorder,
    ) -> Self {
        // A request that a broken connection has eaten is not sent again behind our back.
        let http = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(1)
            .retry_canceled_requests(false)
            .build_http();
        let random = fastrand::Rng::with_seed(seed ^ number as u64);
        Self { current: number, addresses, number, seed, requests: 0, random, http, recorder }
    }

    /// Sends a request, with a session's token if there is one, and records it.
    pub(crate) async fn send(&mut self, token: Option<&str>, operation: Operation) -> Answer {
        self.requests += 1;
        let request_id = format!("torture-{}-{}-{}", self.seed, self.number, self.requests);
        let sent = self.recorder.now();
        let is_hurried = self.random.u64(0..HURRIED) == 0;
        let hurry = Duration::from_millis(self.random.u64(HURRY));
        let patience = if is_hurried { hurry } else { PATIENCE };
        let exchange = timeout(patience, self.exchange(token, &request_id, &operation)).await;
        let late = || Lost { unsent: false, why: format!("nothing after {patience:?}") };
        let answer = exchange.unwrap_or_else(|_| Err(late()));
        let (outcome, answer) = match answer {
            Ok((status, etag, body)) => {
                // As behind a load balancer, which asks for readiness.
                self.current += usize::from(status == 503);
                told(&operation, status, etag, body)
            }
            Err(lost) => {
                self.current += usize::from(!is_hurried);
                let answer = if lost.unsent { Answer::Unsent } else { Answer::Unknown };
                (Outcome::Unknown(lost.why), answer)
            }
        };
        let answered = self.recorder.now();
        let client = self.number;
        self.recorder.push(Record { client, request_id, operation, sent, answered, outcome });
        answer
    }

    async fn exchange(
        &self,
        token: Option<&str>,
        request_id: &str,
        operation: &Operation,
    ) -> Result<(u16, Option<i64>, Value), Lost> {
        let address = &self.addresses[self.current % self.addresses.len()];
        let call = Call::of(operation);
        let mut request = hyper::Request::builder()
            .method(call.method)
            .uri(format!("http://{address}{}", call.path))
            .header("x-request-id", request_id)
            .header("x-forwarded-for", self.network());
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut bytes = Bytes::new();
        if let Some(body) = call.body {
            request = request.header("content-type", "application/json");
            bytes = body.to_string().into();
        }
        let request = request.body(Full::new(bytes)).map_err(Lost::before)?;
        let response = self
            .http
            .request(request)
            .await
            .map_err(|error| Lost { unsent: error.is_connect(), why: format!("{error}") })?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(Lost::halfway)?.to_bytes();
        let etag = head.headers.get("etag").and_then(|tag| tag.to_str().ok());
        let etag = etag.and_then(|tag| tag.trim_matches('"').parse().ok());
        let body = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&body).map_err(Lost::halfway)?
        };
        Ok((head.status.as_u16(), etag, body))
    }

    /// From where the client seems to come: now from here, now from there, because a
    /// login that is cut off counts as a wrong password.
    fn network(&self) -> String {
        format!("10.{}.{}.1", self.number, self.requests % 16)
    }
}

/// Why there is no answer.
struct Lost {
    unsent: bool,
    why: String,
}

impl Lost {
    fn before(error: impl std::fmt::Display) -> Self {
        Self { unsent: true, why: error.to_string() }
    }

    fn halfway(error: impl std::fmt::Display) -> Self {
        Self { unsent: false, why: error.to_string() }
    }
}

fn told(operation: &Operation, status: u16, etag: Option<i64>, body: Value) -> (Outcome, Answer) {
    let code = || body["code"].as_str().unwrap_or_default().to_owned();
    match status {
        200..300 => {
            let facts = facts(operation, etag, &body);
            (Outcome::Acknowledged(facts.clone()), Answer::Done(facts, body))
        }
        400..500 => (Outcome::Refused(status, code()), Answer::Refused(code())),
        _ => (Outcome::Unknown(format!("{status} {}", code())), Answer::Unknown),
    }
}

fn facts(operation: &Operation, etag: Option<i64>, body: &Value) -> Facts {
    let text = |name: &str| body[name].as_str().map(str::to_owned);
    let mut facts = Facts { version: etag, ..Facts::default() };
    match operation {
        Operation::Login { .. } => {
            let claims = body["token"].as_str().and_then(claims).unwrap_or_default();
            facts.id = claims["sid"].as_str().map(str::to_owned);
            facts.expires_at = claims["exp"].as_i64();
        }
        Operation::CreateUser { .. } => {
            facts.id = text("public_id");
            facts.user_id = body["user_id"].as_i64();
        }
        Operation::CreateAccount { .. } => facts.id = text("service_account_id"),
        Operation::CreateToken { .. } => facts.id = text("token_id"),
        _ => {}
    }
    facts
}

/// What a token says. Nobody here has the key to verify it, nor needs to.
fn claims(token: &str) -> Option<Value> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

impl Call {
    fn of(operation: &Operation) -> Self {
        let (method, path, body) = match operation {
            Operation::Login { .. }
            | Operation::Logout { .. }
            | Operation::EndSession { .. }
            | Operation::EndOtherSessions { .. } => session_call(operation),
            Operation::CreateAccount { .. }
            | Operation::SetScopes { .. }
            | Operation::DeleteAccount { .. }
            | Operation::CreateToken { .. }
            | Operation::DeleteToken { .. } => account_call(operation),
            _ => user_call(operation),
        };
        Self { method, path, body }
    }
}

type Parts = (&'static str, String, Option<Value>);

fn session_call(operation: &Operation) -> Parts {
    match operation {
        Operation::Login { username, password: number, .. } => {
            let body = json!({"username": username, "password": password(*number)});
            ("POST", "/login".to_owned(), Some(body))
        }
        Operation::EndSession { session, by_admin } => {
            let whose = if *by_admin { "admin" } else { "me" };
            ("DELETE", format!("/{whose}/sessions/{session}"), None)
        }
        Operation::EndOtherSessions { .. } => ("DELETE", "/me/sessions".to_owned(), None),
        _ => ("POST", "/logout".to_owned(), None),
    }
}

fn account_call(operation: &Operation) -> Parts {
    match operation {
        Operation::SetScopes { account, scopes } => {
            let path = format!("/service-accounts/{account}/scopes");
            ("PUT", path, Some(json!({"scopes": scopes})))
        }
        Operation::DeleteAccount { account } => {
            ("DELETE", format!("/service-accounts/{account}"), None)
        }
        Operation::CreateToken { account, name } => {
            let body = json!({"name": name, "expires_in": "30d"});
            ("POST", format!("/service-accounts/{account}/tokens"), Some(body))
        }
        Operation::DeleteToken { account, token } => {
            ("DELETE", format!("/service-accounts/{account}/tokens/{token}"), None)
        }
        Operation::CreateAccount { name, scopes, .. } => {
            let body = json!({"name": name, "scopes": scopes});
            ("POST", "/service-accounts".to_owned(), Some(body))
        }
        _ => ("GET", "/service-accounts".to_owned(), None),
    }
}

fn user_call(operation: &Operation) -> Parts {
    match operation {
        Operation::CreateUser { username, display_name, password: number } => {
            let password = password(*number);
            let body = json!({
                "username": username, "password": password, "display_name": display_name});
            ("POST", "/admin/users".to_owned(), Some(body))
        }
        Operation::UpdateUser { user, change } => {
            ("PATCH", format!("/admin/users/{user}"), Some(fields(change)))
        }
        Operation::UpdateProfile { display_name, .. } => {
            ("PATCH", "/me".to_owned(), Some(json!({"display_name": display_name})))
        }
        Operation::ChangePassword { current, new, .. } => {
            let body =
                json!({"current_password": password(*current), "new_password": password(*new)});
            ("PUT", "/me/password".to_owned(), Some(body))
        }
        Operation::ResetPassword { user, password: number } => {
            let body = json!({"new_password": password(*number)});
            ("PUT", format!("/admin/users/{user}/password"), Some(body))
        }
        Operation::DeleteUser { user } => ("DELETE", format!("/admin/users/{user}"), None),
        Operation::ReadUser { user } => ("GET", format!("/admin/users/{user}"), None),
        Operation::FindUser { username } => ("GET", format!("/admin/users?q={username}"), None),
        _ => ("GET", "/me".to_owned(), None),
    }
}

/// The fields that are there.
fn fields(change: &UserChange) -> Value {
    let mut fields = serde_json::Map::new();
    if let Some(username) = &change.username {
        fields.insert("username".to_owned(), json!(username));
    }
    if let Some(display_name) = &change.display_name {
        fields.insert("display_name".to_owned(), json!(display_name));
    }
    if let Some(disabled) = change.disabled {
        fields.insert("disabled".to_owned(), json!(disabled));
    }
    Value::Object(fields)
}
