//! A user that one client has to itself: what comes next, and what is known of it.

use super::api::Answer;
use super::client::{Client, Session, scopes};
use crate::history::{Operation, UserChange};

/// How many sessions, service accounts and tokens of one account there are at most.
const EACH: usize = 2;

/// What the client knows of a user of its own.
pub(super) struct OwnUser {
    pub(super) public_id: String,
    /// Whether something was asked of which nobody knows whether it was done.
    pub(super) is_doubtful: bool,
    username: String,
    password: u32,
    is_disabled: bool,
    sessions: Vec<Session>,
    accounts: Vec<Account>,
}

struct Account {
    id: String,
    tokens: Vec<String>,
}

impl OwnUser {
    pub(super) fn new(public_id: String, username: String, password: u32) -> Self {
        Self {
            public_id,
            is_doubtful: false,
            username,
            password,
            is_disabled: false,
            sessions: Vec::new(),
            accounts: Vec::new(),
        }
    }

    /// What to ask next.
    pub(super) fn next(&self, client: &mut Client) -> Operation {
        if self.is_disabled {
            return self.update(UserChange { disabled: Some(false), ..Default::default() });
        }
        let Some(session) = self.sessions.first() else {
            return self.login();
        };
        match client.random.u32(0..40) {
            0..2 if self.sessions.len() < EACH => self.login(),
            2..4 => Operation::Logout { session: session.id.clone() },
            4 => Operation::EndSession { session: session.id.clone(), by_admin: true },
            5 => Operation::EndSession { session: session.id.clone(), by_admin: false },
            6 => Operation::EndOtherSessions {
                user: self.public_id.clone(),
                kept: session.id.clone(),
            },
            7 => Operation::ChangePassword {
                user: self.public_id.clone(),
                session: session.id.clone(),
                current: self.password,
                new: client.new_password(),
            },
            8 => Operation::ResetPassword {
                user: self.public_id.clone(),
                password: client.new_password(),
            },
            9 => self.update(UserChange { disabled: Some(true), ..Default::default() }),
            10..13 => self.update(UserChange {
                username: Some(client.unique("renamed")),
                display_name: client.random.bool().then(|| client.unique("Renamed")),
                disabled: None,
            }),
            13..18 => Operation::UpdateProfile {
                user: self.public_id.clone(),
                display_name: client.unique("Also called"),
            },
            18 => Operation::ReadUser { user: self.public_id.clone() },
            19 => Operation::ReadOwn { session: session.id.clone() },
            _ => self.next_of_account(client),
        }
    }

    fn next_of_account(&self, client: &mut Client) -> Operation {
        let resource = client.unique("files");
        let scopes = scopes(&self.public_id, &resource, &mut client.random);
        let pick = client.random.usize(0..=EACH);
        let Some(Account { id: account, tokens }) = self.accounts.get(pick) else {
            return match self.accounts.last() {
                Some(account) if self.accounts.len() == EACH => {
                    Operation::DeleteAccount { account: account.id.clone() }
                }
                _ => Operation::CreateAccount {
                    owner: self.public_id.clone(),
                    name: client.unique("program"),
                    scopes,
                },
            };
        };
        let account = account.clone();
        match (client.random.u32(0..4), tokens.last()) {
            (0, _) if tokens.len() < EACH => {
                Operation::CreateToken { account, name: client.unique("token") }
            }
            (1, Some(token)) => Operation::DeleteToken { account, token: token.clone() },
            _ => Operation::SetScopes { account, scopes },
        }
    }

    fn login(&self) -> Operation {
        Operation::Login {
            user: Some(self.public_id.clone()),
            username: self.username.clone(),
            password: self.password,
        }
    }

    fn update(&self, change: UserChange) -> Operation {
        Operation::UpdateUser { user: self.public_id.clone(), change }
    }

    /// The token of the user's session, unless the administrator has to ask.
    pub(super) fn token_for(&self, operation: &Operation) -> Option<&str> {
        match operation {
            Operation::Login { .. }
            | Operation::UpdateUser { .. }
            | Operation::ResetPassword { .. }
            | Operation::ReadUser { .. }
            | Operation::EndSession { by_admin: true, .. } => None,
            _ => Some(&self.sessions.first()?.token),
        }
    }

    /// Draws conclusions from the answer.
    pub(super) fn learn(&mut self, operation: &Operation, answer: &Answer) {
        match answer {
            Answer::Done(facts, body) => {
                let id = facts.id.clone().unwrap_or_default();
                let token = body["token"].as_str().unwrap_or_default().to_owned();
                self.learn_done(operation, id, token);
            }
            Answer::Refused(code) if code == "invalid_token" => self.sessions.clear(),
            Answer::Refused(_) | Answer::Unsent => {}
            Answer::Unknown => self.is_doubtful |= operation.action().is_some(),
        }
    }

    fn learn_done(&mut self, operation: &Operation, id: String, token: String) {
        match operation {
            Operation::Login { .. } => self.sessions.push(Session { id, token }),
            Operation::Logout { session } | Operation::EndSession { session, .. } => {
                self.sessions.retain(|held| held.id != *session);
            }
            Operation::EndOtherSessions { kept, .. } => {
                self.sessions.retain(|held| held.id == *kept);
            }
            Operation::ChangePassword { session, new, .. } => {
                self.password = *new;
                self.sessions.retain(|held| held.id == *session);
            }
            Operation::ResetPassword { password, .. } => {
                self.password = *password;
                self.sessions.clear();
            }
            Operation::UpdateUser { change, .. } => self.learn_change(change),
            Operation::CreateAccount { .. } => {
                self.accounts.push(Account { id, tokens: Vec::new() });
            }
            Operation::DeleteAccount { account } => self.accounts.retain(|a| a.id != *account),
            Operation::CreateToken { account, .. } => {
                if let Some(held) = self.accounts.iter_mut().find(|held| held.id == *account) {
                    held.tokens.push(id);
                }
            }
            Operation::DeleteToken { token, .. } => {
                for held in &mut self.accounts {
                    held.tokens.retain(|id| id != token);
                }
            }
            _ => {}
        }
    }

    fn learn_change(&mut self, change: &UserChange) {
        if let Some(username) = &change.username {
            self.username.clone_from(username);
        }
        if let Some(disabled) = change.disabled {
            self.is_disabled = disabled;
            if disabled {
                self.sessions.clear();
            }
        }
    }
}
