//! Who calls, what there is to call for, and how a request looks that nothing is wrong
//! with.

use fastrand::Rng;
use serde_json::{Value, json};

use super::{Draft, mutate};
use crate::harness::{PASSWORD, Reply, SERVICE_API_KEY, Service};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Caller {
    Nobody,
    User,
    Admin,
    /// A service account of the user's.
    Program,
    Service,
}

impl Caller {
    pub(super) const ALL: [Self; 5] =
        [Self::Nobody, Self::User, Self::Admin, Self::Program, Self::Service];
}

pub(super) fn any_caller(rng: &mut Rng) -> Caller {
    rng.choice(Caller::ALL).expect("one of them")
}

/// An operation of the document.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) template: &'static str,
    /// Who may call it.
    pub(super) caller: Caller,
    /// How often it is chosen. What hashes a password, or makes a login necessary, is
    /// chosen seldom: such a request takes as long as thirty others.
    weight: u32,
    /// A query that it takes.
    query: &'static str,
}

const fn often(
    method: &'static str,
    template: &'static str,
    caller: Caller,
    query: &'static str,
) -> Operation {
    Operation { method, template, caller, weight: 8, query }
}

const fn seldom(method: &'static str, template: &'static str, caller: Caller) -> Operation {
    Operation { method, template, caller, weight: 1, query: "" }
}

pub(super) const OPERATIONS: [Operation; 33] = {
    use Caller::{Admin, Nobody, Service, User};
    [
        seldom("POST", "/login", Nobody),
        seldom("POST", "/logout", User),
        often("GET", "/me", User, ""),
        often("PATCH", "/me", User, ""),
        seldom("PUT", "/me/password", User),
        often("GET", "/me/sessions", User, "limit=3"),
        often("DELETE", "/me/sessions", User, ""),
        seldom("DELETE", "/me/sessions/{id}", User),
        often("GET", "/admin/users", Admin, "limit=5&q=u"),
        seldom("POST", "/admin/users", Admin),
        often("GET", "/admin/users/{id}", Admin, ""),
        often("PATCH", "/admin/users/{id}", Admin, ""),
        seldom("DELETE", "/admin/users/{id}", Admin),
        seldom("PUT", "/admin/users/{id}/password", Admin),
        often("GET", "/admin/sessions", Admin, "limit=5"),
        seldom("DELETE", "/admin/sessions/{id}", Admin),
        often("GET", "/admin/audit", Admin, "limit=5&outcome=success&since=2020-01-01T00:00:00Z"),
        often("GET", "/service-accounts", User, "limit=5"),
        often("POST", "/service-accounts", User, ""),
        often("GET", "/service-accounts/{id}", User, ""),
        often("DELETE", "/service-accounts/{id}", User, ""),
        often("PUT", "/service-accounts/{id}/scopes", User, ""),
        often("GET", "/service-accounts/{id}/tokens", User, "limit=5"),
        often("POST", "/service-accounts/{id}/tokens", User, ""),
        often("DELETE", "/service-accounts/{id}/tokens/{token_id}", User, ""),
        often("POST", "/introspect", Service, ""),
        often("GET", "/snapshot/users", Service, "limit=5"),
        often("GET", "/snapshot/identities", Service, "limit=5"),
        often("GET", "/healthz", Nobody, ""),
        often("GET", "/readyz", Nobody, ""),
        often("GET", "/.well-known/jwks.json", Nobody, ""),
        often("GET", "/.well-known/openid-configuration", Nobody, ""),
        seldom("GET", "/openapi.json", Nobody),
    ]
};

pub(super) fn choose(rng: &mut Rng) -> &'static Operation {
    let all: u32 = OPERATIONS.iter().map(|operation| operation.weight).sum();
    let mut left = rng.u32(..all);
    let mut operations = OPERATIONS.iter();
    loop {
        let operation = operations.next().expect("the weights add up");
        match left.checked_sub(operation.weight) {
            Some(rest) => left = rest,
            None => return operation,
        }
    }
}

/// Somebody with a session.
struct Account {
    name: String,
    password: String,
    public_id: String,
    token: String,
    /// The id of another session, when there is one.
    other_session: Option<String>,
    /// The id of a service account.
    program: String,
    token_id: String,
    api_token: String,
}

impl Account {
    /// Makes a user, who logs in.
    async fn new(service: &Service, admin: &str, name: &str) -> Self {
        let user = service.create_user(admin, name).await;
        let mut account = Self {
            name: name.to_owned(),
            password: PASSWORD.to_owned(),
            public_id: user["public_id"].as_str().expect("an id").to_owned(),
            token: service.login(name, PASSWORD).await,
            other_session: None,
            program: String::new(),
            token_id: String::new(),
            api_token: String::new(),
        };
        account.make_service_account(service).await;
        account
    }

    async fn make_service_account(&mut self, service: &Service) {
        let made = service.create_service_account(&self.token).await;
        self.program = text(&made, "service_account_id");
        self.make_token(service).await;
    }

    async fn make_token(&mut self, service: &Service) {
        let of = json!({"service_account_id": self.program});
        let made = service.create_token(&self.token, &of).await;
        (self.token_id, self.api_token) = (text(&made, "token_id"), text(&made, "token"));
    }

    async fn log_in(&mut self, service: &Service) {
        self.token = service.login(&self.name, &self.password).await;
    }

    /// The id of a session that is not the one of `token`.
    async fn other_session(&mut self, service: &Service) -> String {
        if self.other_session.is_none() {
            let token = service.login(&self.name, &self.password).await;
            let mine = service.get("/me/sessions?limit=500").bearer(&token).send().await;
            let mine = mine.body["sessions"].as_array().expect("sessions").clone();
            let newest = mine.iter().find(|session| session["current"] == true).expect("this one");
            self.other_session = Some(text(newest, "session_id"));
        }
        self.other_session.clone().expect("one")
    }
}

fn text(value: &Value, member: &str) -> String {
    value[member].as_str().expect("text").to_owned()
}

/// What one worker calls as and for. Nobody else changes it.
pub(super) struct World<'a> {
    service: &'a Service,
    name: String,
    user: Account,
    admin: Account,
    /// The public id of a user whom the administrator may do anything to.
    victim: String,
    made: u64,
}

impl<'a> World<'a> {
    /// `root` is the token of an administrator.
    pub(super) async fn new(service: &'a Service, root: &str, worker: u64) -> Self {
        let user = Account::new(service, root, &format!("user-{worker}")).await;
        let admin = Account::new(service, root, &format!("admin-{worker}")).await;
        let path = format!("/admin/users/{}", admin.public_id);
        let made = service.patch(&path).bearer(root).json(&json!({"is_admin": true})).send().await;
        assert_eq!(made.status, 200, "{}", made.body);
        let name = format!("victim-{worker}");
        let mut world = Self { service, name, user, admin, victim: String::new(), made: 0 };
        world.make_victim().await;
        world
    }

    async fn make_victim(&mut self) {
        let name = self.new_name();
        let victim = self.service.create_user(&self.admin.token, &name).await;
        self.victim = text(&victim, "public_id");
    }

    fn new_name(&mut self) -> String {
        self.made += 1;
        format!("{}-{}", self.name, self.made)
    }

    fn account(&mut self, caller: Caller) -> &mut Account {
        if caller == Caller::Admin { &mut self.admin } else { &mut self.user }
    }

    fn credentials(&self, caller: Caller) -> Option<&str> {
        Some(match caller {
            Caller::Nobody => return None,
            Caller::User => &self.user.token,
            Caller::Admin => &self.admin.token,
            Caller::Program => &self.user.api_token,
            Caller::Service => SERVICE_API_KEY,
        })
    }

    /// A request for an operation, with so many things wrong with it.
    pub(super) async fn draft(
        &mut self,
        rng: &mut Rng,
        operation: &Operation,
        caller: Caller,
        number: u64,
        mutations: usize,
    ) -> Draft {
        let mut target = self.path(operation, caller).await;
        if !operation.query.is_empty() {
            target = format!("{target}?{}", operation.query);
        }
        // From a network of its own, or wrong passwords would soon keep everybody out.
        let network = format!("2001:db8:{:x}:{:x}::1", number >> 16, number & 0xFFFF);
        let mut headers = vec![("x-forwarded-for".to_owned(), network.into_bytes())];
        if let Some(token) = self.credentials(caller) {
            headers.push(("authorization".to_owned(), format!("Bearer {token}").into_bytes()));
        }
        let mut left = mutations;
        let (media_type, body) = if operation.template == "/introspect" {
            let token = rng.choice([&self.user.token, &self.user.api_token]).expect("one");
            ("application/x-www-form-urlencoded", format!("token={token}").into_bytes())
        } else {
            let mut members = self.members(operation, caller);
            while left > 0 && !members.is_empty() && rng.bool() {
                mutate::members(rng, &mut members);
                left -= 1;
            }
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("{}:{value}", json!(name))).collect();
            ("application/json", format!("{{{}}}", members.join(",")).into_bytes())
        };
        let mut draft =
            Draft { method: operation.method.to_owned(), target, headers, body: Vec::new() };
        if !matches!(operation.method, "GET" | "DELETE") {
            draft.headers.push(("content-type".to_owned(), media_type.into()));
            draft.body = body;
        }
        for _ in 0..left {
            mutate::draft(rng, &mut draft);
        }
        draft
    }

    async fn path(&mut self, operation: &Operation, caller: Caller) -> String {
        let service = self.service;
        let victim = self.victim.clone();
        let template = operation.template;
        let account = self.account(caller);
        let id = match template.split('/').nth(1) {
            Some("me") if template.contains('{') => account.other_session(service).await,
            Some("service-accounts") => account.program.clone(),
            Some("admin") if template == "/admin/sessions/{id}" => {
                self.user.other_session(service).await
            }
            _ => victim,
        };
        let token_id = &self.account(caller).token_id;
        template.replace("{id}", &id).replace("{token_id}", token_id)
    }

    /// The members of the body, each value as JSON.
    fn members(&mut self, operation: &Operation, caller: Caller) -> Vec<(String, String)> {
        let name = self.new_name();
        let account = self.account(caller);
        let scopes = json!({format!("sfs.{}.files", account.public_id): ["read", "write"]});
        let members = match (operation.method, operation.template) {
            ("POST", "/login") => {
                vec![("username", json!(account.name)), ("password", json!(account.password))]
            }
            ("PATCH", "/me") => vec![("display_name", json!(format!("Ada ☃ {name}")))],
            ("PUT", "/me/password") => vec![
                ("current_password", json!(account.password)),
                ("new_password", json!(format!("{PASSWORD} {name}"))),
            ],
            ("POST", "/admin/users") => vec![
                ("username", json!(name)),
                ("password", json!(PASSWORD)),
                ("display_name", Value::Null),
            ],
            ("PATCH", "/admin/users/{id}") => vec![
                ("username", json!(name)),
                ("display_name", json!("Ada")),
                ("disabled", json!(false)),
                ("is_admin", json!(false)),
            ],
            ("PUT", "/admin/users/{id}/password") => vec![("new_password", json!(PASSWORD))],
            ("POST", "/service-accounts") => vec![("name", json!(name)), ("scopes", scopes)],
            ("PUT", "/service-accounts/{id}/scopes") => vec![("scopes", scopes)],
            ("POST", "/service-accounts/{id}/tokens") => {
                vec![("name", json!(name)), ("expires_in", json!("30d"))]
            }
            _ => Vec::new(),
        };
        members.into_iter().map(|(name, value)| (name.to_owned(), value.to_string())).collect()
    }

    /// Makes anew what a request that succeeded has taken away.
    pub(super) async fn follow(&mut self, draft: &Draft, caller: Caller, reply: &Reply) {
        if !(200..300).contains(&reply.status) || matches!(draft.method.as_str(), "GET" | "HEAD") {
            return;
        }
        let service = self.service;
        let uri = draft.uri().expect("it was sent");
        let segments: Vec<&str> = uri.path().trim_start_matches('/').split('/').collect();
        let account = self.account(caller);
        match (draft.method.as_str(), segments.as_slice()) {
            (_, ["logout"]) => account.log_in(service).await,
            ("DELETE", ["me", "sessions", ..]) => account.other_session = None,
            ("DELETE", ["admin", "sessions", _]) => self.user.other_session = None,
            ("PUT", ["me", "password"]) => {
                let body: Value = serde_json::from_slice(&draft.body).expect("it was taken");
                account.password = text(&body, "new_password");
                account.other_session = None;
            }
            ("DELETE", ["admin", "users", _]) => self.make_victim().await,
            ("DELETE", ["service-accounts", _]) => account.make_service_account(service).await,
            ("DELETE", ["service-accounts", _, "tokens", _]) => account.make_token(service).await,
            // Up to a hundred are allowed.
            ("POST", ["service-accounts"]) => {
                let path = format!("/service-accounts/{}", text(&reply.body, "service_account_id"));
                let token = account.token.clone();
                let deleted = service.delete(&path).bearer(&token).send().await;
                assert_eq!(deleted.status, 204, "{}", deleted.body);
            }
            _ => {}
        }
    }
}
