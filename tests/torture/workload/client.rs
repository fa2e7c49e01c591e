//! What one client does: with users of its own, one thing after the other, and with
//! users that all clients share.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::api::{Answer, Api};
use super::own::OwnUser;
use crate::history::{ADMIN_PASSWORD, Operation, UserChange};

/// The name of the default user, who is the administrator.
const ADMIN: &str = "admin";

/// How many users all clients share.
const SHARED_USERS: u32 = 3;

/// The password of the users that all share.
const SHARED_PASSWORD: u32 = 1;

/// How many users of its own a client has at most.
const OWN_USERS: usize = 3;

/// How many sessions of one user a client holds at most.
const SESSIONS: usize = 3;

/// How long a client thinks, in milliseconds.
const THINKING: std::ops::Range<u64> = 250..650;

/// Some client.
pub(super) struct Client {
    pub(super) api: Api,
    pub(super) random: fastrand::Rng,
    admin: Option<Session>,
    /// Sessions of shared users.
    sessions: Vec<(usize, Session)>,
    own: Vec<OwnUser>,
    doubts: Vec<Doubt>,
    number: usize,
    made: u32,
}

/// A user that all share. The name stays, and so does the password.
pub(super) struct SharedUser {
    public_id: String,
    username: String,
}

/// A session that the client has opened.
pub(super) struct Session {
    pub(super) id: String,
    pub(super) token: String,
}

/// Something of which the client does not know what became of it. It removes it, when
/// it comes to it, as a client would that tidies up.
enum Doubt {
    /// A user who may be there, by its name.
    Name(String),
    /// A user with doubtful properties.
    User(String),
}

impl Client {
    pub(super) fn new(api: Api, number: usize, seed: u64) -> Self {
        Self {
            api,
            random: fastrand::Rng::with_seed(seed),
            admin: None,
            sessions: Vec::new(),
            own: Vec::new(),
            doubts: Vec::new(),
            number,
            made: 0,
        }
    }

    /// Makes the users that all share, however long that takes.
    pub(super) async fn make_shared_users(&mut self, stop: &CancellationToken) -> Vec<SharedUser> {
        let mut users = Vec::new();
        while users.len() < SHARED_USERS as usize && !stop.is_cancelled() {
            if let Some((public_id, username)) = self.create_user(SHARED_PASSWORD).await {
                users.push(SharedUser { public_id, username });
            }
            self.think(stop).await;
        }
        users
    }

    /// Works until it is told to stop. The request that is under way is finished.
    pub(super) async fn work(&mut self, shared: &[SharedUser], stop: &CancellationToken) {
        while !stop.is_cancelled() {
            match self.random.u32(0..10) {
                0 if !self.doubts.is_empty() => self.tidy_up().await,
                0..4 if !shared.is_empty() => self.use_shared(shared).await,
                _ => self.use_own().await,
            }
            self.think(stop).await;
        }
    }

    async fn think(&mut self, stop: &CancellationToken) {
        let thinking = Duration::from_millis(self.random.u64(THINKING));
        tokio::select! {
            () = sleep(thinking) => {}
            () = stop.cancelled() => {}
        }
    }

    /// A text that no other request has in it.
    pub(super) fn unique(&mut self, what: &str) -> String {
        self.made += 1;
        format!("{what}-{}-{}", self.number, self.made)
    }

    /// A password that no other user has.
    pub(super) fn new_password(&mut self) -> u32 {
        self.made += 1;
        u32::try_from(self.number).unwrap_or_default() * 1_000_000 + 1000 + self.made
    }

    /// Sends a request as the administrator, who logs in when there is no session.
    async fn as_admin(&mut self, operation: Operation) -> Answer {
        if self.admin.is_none() {
            self.admin = self.log_in(None, ADMIN.to_owned(), ADMIN_PASSWORD).await.ok();
        }
        let Some(admin) = &self.admin else {
            return Answer::Unsent;
        };
        let answer = self.api.send(Some(&admin.token), operation).await;
        if matches!(&answer, Answer::Refused(code) if code == "invalid_token") {
            self.admin = None;
        }
        answer
    }

    async fn log_in(
        &mut self,
        user: Option<String>,
        username: String,
        password: u32,
    ) -> Result<Session, Answer> {
        match self.api.send(None, Operation::Login { user, username, password }).await {
            Answer::Done(facts, body) => Ok(Session {
                id: facts.id.unwrap_or_default(),
                token: body["token"].as_str().unwrap_or_default().to_owned(),
            }),
            other => Err(other),
        }
    }

    /// Makes a user. Returns its public id and its name.
    async fn create_user(&mut self, password: u32) -> Option<(String, String)> {
        let username = self.unique("user");
        let display_name = self.unique("The user");
        let create = Operation::CreateUser { username: username.clone(), display_name, password };
        match self.as_admin(create).await {
            Answer::Done(facts, _) => Some((facts.id?, username)),
            Answer::Unknown => {
                self.doubts.push(Doubt::Name(username));
                None
            }
            Answer::Refused(_) | Answer::Unsent => None,
        }
    }

    /// Looks after something doubtful.
    async fn tidy_up(&mut self) {
        let place = self.random.usize(0..self.doubts.len());
        match self.doubts.swap_remove(place) {
            Doubt::Name(username) => {
                let find = Operation::FindUser { username: username.clone() };
                let Answer::Done(_, found) = self.as_admin(find).await else {
                    self.doubts.push(Doubt::Name(username));
                    return;
                };
                let users = found["users"].as_array().map(Vec::as_slice).unwrap_or_default();
                let user = users.iter().find(|user| user["username"] == username.as_str());
                let id = user.and_then(|user| user["public_id"].as_str());
                self.doubts.extend(id.map(|id| Doubt::User(id.to_owned())));
            }
            Doubt::User(user) => {
                let delete = Operation::DeleteUser { user: user.clone() };
                if let Answer::Unknown | Answer::Unsent = self.as_admin(delete).await {
                    self.doubts.push(Doubt::User(user));
                }
            }
        }
    }

    /// Does something with a user that others use at the same moment.
    async fn use_shared(&mut self, shared: &[SharedUser]) {
        let place = self.random.usize(0..shared.len());
        let user = shared[place].public_id.clone();
        let session = self.sessions.iter().position(|(of, _)| *of == place);
        match (self.random.u32(0..20), session) {
            (0..3, Some(at)) => self.end_shared_session(at).await,
            (3, Some(at)) => {
                let kept = self.sessions[at].1.id.clone();
                self.with_session(at, Operation::EndOtherSessions { user, kept }).await;
            }
            (4..9, Some(at)) => {
                let display_name = self.unique("Called");
                self.with_session(at, Operation::UpdateProfile { user, display_name }).await;
            }
            (9, Some(at)) => {
                let session = self.sessions[at].1.id.clone();
                self.with_session(at, Operation::ReadOwn { session }).await;
            }
            (10..13, _) => drop(self.as_admin(Operation::ReadUser { user }).await),
            (13..18, _) => {
                let change =
                    UserChange { display_name: Some(self.unique("Named")), ..Default::default() };
                self.as_admin(Operation::UpdateUser { user, change }).await;
            }
            (18, _) => {
                let disabled = self.random.bool();
                self.switch(user.clone(), disabled).await;
                // Others want to log in.
                self.switch(user, false).await;
            }
            _ => self.log_in_shared(shared, place).await,
        }
    }

    async fn switch(&mut self, user: String, disabled: bool) {
        let change = UserChange { disabled: Some(disabled), ..Default::default() };
        self.as_admin(Operation::UpdateUser { user, change }).await;
    }

    async fn log_in_shared(&mut self, shared: &[SharedUser], place: usize) {
        let of_user = self.sessions.iter().filter(|(of, _)| *of == place).count();
        if of_user >= SESSIONS {
            let at = self.sessions.iter().position(|(of, _)| *of == place).unwrap_or_default();
            return self.end_shared_session(at).await;
        }
        let SharedUser { public_id: user, username } = &shared[place];
        match self.log_in(Some(user.clone()), username.clone(), SHARED_PASSWORD).await {
            Ok(session) => self.sessions.push((place, session)),
            // Somebody has disabled the user, and does not know that.
            Err(Answer::Refused(code)) if code == "invalid_credentials" => {
                self.switch(user.clone(), false).await;
            }
            Err(_) => {}
        }
    }

    /// Ends a session of a shared user, one way or the other.
    async fn end_shared_session(&mut self, at: usize) {
        let (_, session) = self.sessions.swap_remove(at);
        let id = session.id.clone();
        match self.random.u32(0..3) {
            0 => {
                let end = Operation::EndSession { session: id, by_admin: true };
                self.as_admin(end).await;
            }
            1 => {
                let end = Operation::EndSession { session: id, by_admin: false };
                self.api.send(Some(&session.token), end).await;
            }
            _ => {
                let logout = Operation::Logout { session: id };
                self.api.send(Some(&session.token), logout).await;
                // Whoever has logged out is out.
                let session_read = Operation::ReadOwn { session: session.id };
                self.api.send(Some(&session.token), session_read).await;
            }
        }
    }

    /// Sends a request with a session of a shared user, which may be over.
    async fn with_session(&mut self, at: usize, operation: Operation) {
        let answer = self.api.send(Some(&self.sessions[at].1.token), operation).await;
        if matches!(&answer, Answer::Refused(code) if code == "invalid_token") {
            self.sessions.swap_remove(at);
        }
    }

    /// Does something with a user of its own, or makes one.
    async fn use_own(&mut self) {
        if self.own.is_empty() || self.own.len() < OWN_USERS && self.random.u32(0..10) == 0 {
            let password = self.new_password();
            if let Some((public_id, username)) = self.create_user(password).await {
                self.own.push(OwnUser::new(public_id, username, password));
            }
            return;
        }
        let place = self.random.usize(0..self.own.len());
        let mut user = self.own.swap_remove(place);
        if self.random.u32(0..40) == 0 {
            self.doubts.push(Doubt::User(user.public_id));
            return self.tidy_up().await;
        }
        self.step(&mut user).await;
        if user.is_doubtful {
            self.doubts.push(Doubt::User(user.public_id));
        } else {
            self.own.push(user);
        }
    }

    /// The next step in the life of a user of its own.
    async fn step(&mut self, user: &mut OwnUser) {
        let operation = user.next(self);
        let answer = match user.token_for(&operation) {
            Some(token) => self.api.send(Some(token), operation.clone()).await,
            None if matches!(operation, Operation::Login { .. }) => {
                self.api.send(None, operation.clone()).await
            }
            None => self.as_admin(operation.clone()).await,
        };
        user.learn(&operation, &answer);
    }
}

/// Scopes that no other request has asked for.
pub(super) fn scopes(owner: &str, resource: &str, random: &mut fastrand::Rng) -> Value {
    let actions = if random.bool() { json!(["read"]) } else { json!(["read", "write"]) };
    let mut scopes = serde_json::Map::new();
    scopes.insert(format!("sfs.{owner}.{resource}"), actions);
    Value::Object(scopes)
}
