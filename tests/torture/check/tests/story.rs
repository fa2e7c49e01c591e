//! A history that was written by hand, in which nothing is wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
use serde_json::{Value, json};

use crate::check::evidence::{
    AccountRow, AuditRow, Evidence, Message, OutboxRow, SessionRow, TokenRow, UserRow,
};
use crate::history::{Facts, History, Operation, Outcome, Record, UserChange, password};

/// The password that ada has in the end.
const ADAS_PASSWORD: u32 = 8;

/// The two histories, and the clock.
pub(crate) struct Story {
    pub(crate) history: History,
    pub(crate) evidence: Evidence,
    clock: i64,
}

/// An event: kind, entity, data.
type Event = (&'static str, &'static str, Value);

impl Story {
    /// The whole story.
    pub(crate) fn tell() -> Self {
        let mut story =
            Self { history: History::default(), evidence: Evidence::default(), clock: 0 };
        story.begin();
        story.sessions();
        story.accounts();
        story.changes();
        story.ends();
        story.tables();
        story
    }

    /// The service makes its default user, who makes ada.
    fn begin(&mut self) {
        let admin = json!({"user_id": 1, "public_id": "admin0", "username": "admin",
            "display_name": null, "version": 1});
        self.row(None, "user.create", "user:admin0", &[("UserCreated", "admin0", admin)]);
        let login = Operation::Login { user: None, username: "admin".to_owned(), password: 0 };
        self.done(login, opened("s0"), "session:s0", &[session(1, "admin0", "s0")]);
        self.create("ada001", 2, "ada");
    }

    /// Ada logs in three times, and out; one session is over by itself.
    fn sessions(&mut self) {
        for id in ["s1", "s2", "s3", "s4"] {
            self.log_in("ada001", 2, "ada", id);
        }
        let logout = Operation::Logout { session: "s1".to_owned() };
        self.done(logout, Facts::default(), "session:s1", &[over(2, "ada001", "s1", "logout")]);
        self.say(read("s1"), refused("invalid_token"));
        self.say(read("s2"), Outcome::Acknowledged(Facts::default()));
        // As if it had been opened a day ago.
        let created = self.evidence.outbox.iter_mut().find(|row| row.entity_id == "s4");
        created.expect("it was opened").data["expires_at"] = json!(1);
        let told = self.evidence.stream.iter_mut().find(|message| message.subject.contains("s4"));
        told.expect("it was told").payload["expires_at"] = json!(1);
        let login = self.history.records.iter_mut().find_map(|record| match &mut record.outcome {
            Outcome::Acknowledged(facts) if facts.id.as_deref() == Some("s4") => Some(facts),
            _ => None,
        });
        login.expect("it was acknowledged").expires_at = Some(1);
        self.tick();
        self.event(&over(2, "ada001", "s4", "expired"));
        self.say(read("s4"), refused("invalid_token"));
    }

    /// A service account of ada's, with two tokens.
    fn accounts(&mut self) {
        let scopes = json!({"sfs.ada001.a": ["read"]});
        let create = Operation::CreateAccount {
            owner: "ada001".to_owned(),
            name: "program".to_owned(),
            scopes: scopes.clone(),
        };
        let event = identity("account1", 2, "ada001", &scopes, 1);
        self.done(create, made("account1", Some(1)), "service_account:account1", &[event]);
        for token in ["token1", "token2"] {
            let create = Operation::CreateToken {
                account: "account1".to_owned(),
                name: "laptop".to_owned(),
            };
            self.done(create, made(token, None), &format!("token:{token}"), &[]);
        }
        let scopes = json!({"sfs.ada001.b": ["read", "write"]});
        let set = Operation::SetScopes { account: "account1".to_owned(), scopes: scopes.clone() };
        let event = identity("account1", 2, "ada001", &scopes, 2);
        self.done(set, version(2), "service_account:account1", &[event]);
        let delete =
            Operation::DeleteToken { account: "account1".to_owned(), token: "token2".to_owned() };
        self.done(delete, Facts::default(), "token:token2", &[]);
    }

    /// Changes of ada: one acknowledged, one lost that happened, one lost that did not,
    /// one refused; and a new password, which ends all sessions but one.
    fn changes(&mut self) {
        let event = ada_updated("ada", "Ada", 2);
        self.done(update(None, Some("Ada"), None), version(2), "user:ada001", &[event]);
        let lost = || Outcome::Unknown("late".to_owned());
        let event = ada_updated("countess", "Ada", 3);
        let id = self.say(update(Some("countess"), None, None), lost());
        self.row(Some(&id), "user.update", "user:ada001", &[event]);
        self.say(update(None, Some("never"), None), lost());
        self.say(
            update(Some("admin"), None, None),
            Outcome::Refused(409, "username_taken".to_owned()),
        );
        self.say(Operation::ReadUser { user: "ada001".to_owned() }, acknowledged(version(3)));
        let change = Operation::ChangePassword {
            user: "ada001".to_owned(),
            session: "s2".to_owned(),
            current: 7,
            new: ADAS_PASSWORD,
        };
        let event = over(2, "ada001", "s3", "password_changed");
        self.done(change, Facts::default(), "user:ada001", &[event]);
    }

    /// Bob is deleted with all that is his, and carl is disabled.
    fn ends(&mut self) {
        self.create("bob002", 3, "bob");
        self.log_in("bob002", 3, "bob", "s5");
        let scopes = json!({});
        let create = Operation::CreateAccount {
            owner: "bob002".to_owned(),
            name: "program".to_owned(),
            scopes: scopes.clone(),
        };
        let event = identity("account2", 3, "bob002", &scopes, 1);
        self.done(create, made("account2", Some(1)), "service_account:account2", &[event]);
        let account = json!({"service_account_id": "account2", "user_id": 3,
            "public_id": "bob002", "version": 2});
        let user = json!({"user_id": 3, "public_id": "bob002", "username": "bob", "version": 2});
        let delete = Operation::DeleteUser { user: "bob002".to_owned() };
        self.done(
            delete,
            Facts::default(),
            "user:bob002",
            &[
                over(3, "bob002", "s5", "user_deleted"),
                ("IdentityPermissionsDeleted", "account2", account),
                ("UserDeleted", "bob002", user),
            ],
        );
        self.create("carl03", 4, "carl");
        self.log_in("carl03", 4, "carl", "s6");
        let change = UserChange { disabled: Some(true), ..UserChange::default() };
        let disable = Operation::UpdateUser { user: "carl03".to_owned(), change };
        let event = json!({"user_id": 4, "public_id": "carl03", "username": "carl",
            "display_name": "carl", "version": 2});
        let events = [over(4, "carl03", "s6", "user_disabled"), ("UserUpdated", "carl03", event)];
        self.done(disable, version(2), "user:carl03", &events);
        // Nobody gets in with what was true before.
        self.say(login("carl03", "carl", 7), refused("invalid_credentials"));
        self.say(login("ada001", "ada", ADAS_PASSWORD), refused("invalid_credentials"));
        self.say(login("ada001", "countess", 7), refused("invalid_credentials"));
        self.say(login("bob002", "bob", 7), refused("invalid_credentials"));
    }

    /// What is left.
    fn tables(&mut self) {
        let cheap = Params::new(8, 1, 1, None).expect("parameters");
        let hash = Argon2::new(Algorithm::Argon2id, Version::V0x13, cheap);
        let user = |id, public_id: &str, username: &str, version, number| UserRow {
            id,
            public_id: public_id.to_owned(),
            username: username.to_owned(),
            display_name: None,
            disabled: false,
            version,
            password_hash: hash
                .hash_password(password(number).as_bytes())
                .expect("a hash")
                .to_string(),
        };
        let ada = user(2, "ada001", "countess", 3, ADAS_PASSWORD);
        let ada = UserRow { display_name: Some("Ada".to_owned()), ..ada };
        let carl = user(4, "carl03", "carl", 2, 7);
        let carl = UserRow { display_name: Some("carl".to_owned()), disabled: true, ..carl };
        self.evidence.users = vec![user(1, "admin0", "admin", 1, 0), ada, carl];
        let session = |id: &str, user: &str| SessionRow {
            id: id.to_owned(),
            user: user.to_owned(),
            expires_at: 90_000,
        };
        self.evidence.sessions = vec![session("s0", "admin0"), session("s2", "ada001")];
        self.evidence.accounts = vec![AccountRow {
            id: "account1".to_owned(),
            owner: "ada001".to_owned(),
            name: "program".to_owned(),
            scopes: json!({"sfs.ada001.b": ["read", "write"]}),
            version: 2,
        }];
        self.evidence.tokens = vec![TokenRow {
            id: "token1".to_owned(),
            account: "account1".to_owned(),
            name: "laptop".to_owned(),
        }];
    }

    fn create(&mut self, id: &'static str, user_id: i64, name: &str) {
        let create = Operation::CreateUser {
            username: name.to_owned(),
            display_name: name.to_owned(),
            password: 7,
        };
        let data = json!({"user_id": user_id, "public_id": id, "username": name,
            "display_name": name, "version": 1});
        let facts = Facts { user_id: Some(user_id), ..made(id, Some(1)) };
        self.done(create, facts, &format!("user:{id}"), &[("UserCreated", id, data)]);
    }

    fn log_in(&mut self, user: &'static str, user_id: i64, name: &str, id: &'static str) {
        self.done(
            login(user, name, 7),
            opened(id),
            &format!("session:{id}"),
            &[session(user_id, user, id)],
        );
    }

    /// A request that was done, with its audit row and its events.
    fn done(&mut self, operation: Operation, facts: Facts, resource: &str, events: &[Event]) {
        let action = operation.action().expect("a change");
        let id = self.say(operation, acknowledged(facts));
        self.row(Some(&id), action, resource, events);
    }

    /// A request. Returns its id.
    fn say(&mut self, operation: Operation, outcome: Outcome) -> String {
        self.tick();
        let request_id = format!("r{}", self.history.records.len());
        self.history.records.push(Record {
            client: 0,
            request_id: request_id.clone(),
            operation,
            sent: at(self.clock - 100_000),
            answered: at(self.clock + 100_000),
            outcome,
        });
        request_id
    }

    fn row(&mut self, request: Option<&str>, action: &str, resource: &str, events: &[Event]) {
        self.evidence.audit.push(AuditRow {
            id: i64::try_from(self.evidence.audit.len()).expect("few") + 1,
            occurred_at: self.clock,
            actor: request.map(|_| "admin0".to_owned()),
            action: action.to_owned(),
            outcome: "success".to_owned(),
            reason: None,
            resource: Some(resource.to_owned()),
            request_id: request.map(str::to_owned),
        });
        for event in events {
            self.event(event);
        }
    }

    /// A row of the outbox and its message.
    pub(crate) fn event(&mut self, (kind, entity, data): &Event) {
        let id = self.evidence.outbox.len() + 1;
        let event_id = format!("e{id}");
        let occurred_at_text = format!("at {}", self.clock);
        let mut payload = data.clone();
        payload["metadata"] = json!({"event_id": event_id, "entity_id": entity,
            "timestamp": self.clock / 1_000_000, "source": "auth-service", "version": "1.0"});
        let header = |name: &str, value: &str| (name.to_owned(), vec![value.to_owned()]);
        let headers = BTreeMap::from([
            header("Nats-Msg-Id", &event_id),
            header("ce-id", &event_id),
            header("ce-source", "auth-service"),
            header("ce-type", kind),
            header("ce-time", &occurred_at_text),
            header("ce-specversion", "1.0"),
        ]);
        let (group, what) = match *kind {
            "UserCreated" => ("user", "created"),
            "UserUpdated" => ("user", "updated"),
            "UserDeleted" => ("user", "deleted"),
            "SessionCreated" => ("session", "created"),
            "SessionInvalidated" => ("session", "invalidated"),
            "IdentityPermissionsUpdated" => ("identity", "updated"),
            _ => ("identity", "deleted"),
        };
        self.evidence.stream.push(Message {
            sequence: id as u64,
            subject: format!("auth.{group}.{entity}.{what}"),
            headers,
            payload,
            stored_at: self.clock,
        });
        self.evidence.outbox.push(OutboxRow {
            id: i64::try_from(id).expect("few"),
            event_id,
            kind: (*kind).to_owned(),
            entity_id: (*entity).to_owned(),
            data: data.clone(),
            occurred_at: self.clock,
            occurred_at_text,
            stream_seq: Some(id as u64),
            last_error: None,
            is_set_aside: false,
        });
    }

    fn tick(&mut self) {
        self.clock += 2_000_000;
    }
}

fn login(user: &str, username: &str, password: u32) -> Operation {
    let (user, username) = (Some(user.to_owned()), username.to_owned());
    Operation::Login { user, username, password }
}

fn refused(code: &str) -> Outcome {
    Outcome::Refused(401, code.to_owned())
}

/// A moment of the clock.
fn at(micros: i64) -> Duration {
    Duration::from_micros(micros.unsigned_abs())
}

fn acknowledged(facts: Facts) -> Outcome {
    Outcome::Acknowledged(facts)
}

fn version(version: i64) -> Facts {
    Facts { version: Some(version), ..Facts::default() }
}

fn made(id: &str, version: Option<i64>) -> Facts {
    Facts { id: Some(id.to_owned()), version, ..Facts::default() }
}

fn opened(id: &str) -> Facts {
    Facts { expires_at: Some(90_000), ..made(id, None) }
}

fn read(session: &str) -> Operation {
    Operation::ReadOwn { session: session.to_owned() }
}

fn update(username: Option<&str>, display_name: Option<&str>, disabled: Option<bool>) -> Operation {
    let text = |text: Option<&str>| text.map(str::to_owned);
    let change =
        UserChange { username: text(username), display_name: text(display_name), disabled };
    Operation::UpdateUser { user: "ada001".to_owned(), change }
}

fn ada_updated(username: &str, display_name: &str, version: i64) -> Event {
    let data = json!({"user_id": 2, "public_id": "ada001", "username": username,
        "display_name": display_name, "version": version});
    ("UserUpdated", "ada001", data)
}

fn session(user_id: i64, user: &str, id: &'static str) -> Event {
    let data = json!({"session_id": id, "user_id": user_id, "public_id": user,
        "expires_at": 90_000});
    ("SessionCreated", id, data)
}

/// The end of a session.
pub(crate) fn over(user_id: i64, user: &str, id: &'static str, reason: &str) -> Event {
    let data = json!({"session_id": id, "user_id": user_id, "public_id": user, "reason": reason});
    ("SessionInvalidated", id, data)
}

fn identity(id: &'static str, user_id: i64, owner: &str, scopes: &Value, version: i64) -> Event {
    let data = json!({"service_account_id": id, "user_id": user_id, "public_id": owner,
        "scopes": scopes, "version": version});
    ("IdentityPermissionsUpdated", id, data)
}
