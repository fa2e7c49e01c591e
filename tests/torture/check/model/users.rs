//! Users: each change raises the version and is announced, but for that of a password.

use serde_json::{Value, json};

use super::User;
use super::step::Step;
use crate::check::requests::Change;
use crate::history::{Record, UserChange};

impl Step<'_, '_> {
    pub(super) fn create_default_user(&mut self, change: &Change<'_>) {
        let Some(id) = change.audit.id_of("user") else {
            return;
        };
        // Nobody has asked for it: its name stands in the event only.
        let row = self.model.outbox.iter().find(|row| {
            row.occurred_at == self.at && row.entity_id == id && row.kind == "UserCreated"
        });
        let said = row.map(|row| row.data.clone()).unwrap_or_default();
        self.create_user(id, &said, None, None);
    }

    pub(super) fn create_user(
        &mut self,
        id: &str,
        said: &Value,
        password: Option<u32>,
        record: Option<&Record>,
    ) {
        let row = self.claim("UserCreated", id);
        let user_id = row.and_then(|row| row.data["user_id"].as_i64()).unwrap_or_default();
        let wanted = json!({
            "user_id": user_id, "public_id": id, "username": said["username"],
            "display_name": said["display_name"], "version": 1});
        if let Some(row) = row
            && row.data != wanted
        {
            self.find(id, format!("UserCreated says {}, not {wanted}", row.data));
        }
        if let Some(facts) = record.and_then(Record::facts)
            && facts.user_id != Some(user_id)
        {
            self.find(id, format!("the answer says user_id {:?}, not {user_id}", facts.user_id));
        }
        let text = |name: &str| said[name].as_str().map(str::to_owned);
        let user = User {
            id: user_id,
            username: text("username").unwrap_or_default(),
            display_name: text("display_name"),
            disabled: false,
            version: 1,
            password,
            is_deleted: false,
        };
        if self.model.users.insert(id.to_owned(), user).is_some() {
            self.find(id, "was created twice");
        }
        if let Some(record) = record {
            self.check_version(id, 1, record);
        }
    }

    /// The user, who has to be there.
    pub(super) fn user(&mut self, id: &str) -> Option<User> {
        let user = self.model.users.get(id).filter(|user| !user.is_deleted).cloned();
        if user.is_none() {
            self.find(id, "changed while it was not there");
        }
        user
    }

    pub(super) fn update_user(&mut self, id: &str, change: &UserChange, record: &Record) {
        let Some(mut user) = self.user(id) else {
            return;
        };
        user.version += 1;
        if let Some(username) = &change.username {
            user.username.clone_from(username);
        }
        user.display_name = change.display_name.clone().or(user.display_name);
        user.disabled = change.disabled.unwrap_or(user.disabled);
        let wanted = json!({
            "user_id": user.id, "public_id": id, "username": user.username,
            "display_name": user.display_name, "version": user.version});
        self.claim_saying("UserUpdated", id, &wanted);
        self.check_version(id, user.version, record);
        let disabled = user.disabled;
        self.model.users.insert(id.to_owned(), user);
        if disabled {
            self.end_sessions(id, None, "user_disabled");
        }
    }

    pub(super) fn set_password(&mut self, id: &str, password: u32, kept: Option<&str>) {
        let Some(user) = self.user(id) else {
            return;
        };
        let password = Some(password);
        self.model.users.insert(id.to_owned(), User { password, ..user });
        self.end_sessions(id, kept, "password_changed");
    }

    pub(super) fn delete_user(&mut self, id: &str) {
        let Some(user) = self.user(id) else {
            return;
        };
        self.end_sessions(id, None, "user_deleted");
        let accounts: Vec<String> = self
            .model
            .accounts
            .iter()
            .filter(|(_, account)| account.owner == id && !account.is_deleted)
            .map(|(account, _)| account.clone())
            .collect();
        for account in accounts {
            self.delete_account(&account);
        }
        let wanted = json!({
            "user_id": user.id, "public_id": id, "username": user.username,
            "version": user.version + 1});
        self.claim_saying("UserDeleted", id, &wanted);
        self.model.users.insert(id.to_owned(), User { is_deleted: true, ..user });
    }
}
