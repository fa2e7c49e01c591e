//! Service accounts and their tokens, of which no event tells.

use serde_json::{Value, json};

use super::step::Step;
use super::{Account, Token};
use crate::history::Record;

impl Step<'_, '_> {
    pub(super) fn create_account(
        &mut self,
        id: &str,
        owner: &str,
        name: &str,
        scopes: &Value,
        record: &Record,
    ) {
        if self.user(owner).is_none() {
            return;
        }
        let account = Account {
            owner: owner.to_owned(),
            name: name.to_owned(),
            scopes: scopes.clone(),
            version: 1,
            is_deleted: false,
        };
        self.announce_account(id, &account);
        self.check_version(id, 1, record);
        if self.model.accounts.insert(id.to_owned(), account).is_some() {
            self.find(id, "was created twice");
        }
    }

    pub(super) fn announce_account(&mut self, id: &str, account: &Account) {
        let user_id = self.model.users.get(&account.owner).map(|user| user.id);
        let wanted = json!({
            "service_account_id": id, "user_id": user_id, "public_id": account.owner,
            "scopes": account.scopes, "version": account.version});
        self.claim_saying("IdentityPermissionsUpdated", id, &wanted);
    }

    /// The service account, which has to be there.
    pub(super) fn account(&mut self, id: &str) -> Option<Account> {
        let account = self.model.accounts.get(id).filter(|account| !account.is_deleted).cloned();
        if account.is_none() {
            self.find(id, "changed while it was not there");
        }
        account
    }

    pub(super) fn set_scopes(&mut self, id: &str, scopes: &Value, record: &Record) {
        let Some(account) = self.account(id) else {
            return;
        };
        let account = Account { version: account.version + 1, scopes: scopes.clone(), ..account };
        self.announce_account(id, &account);
        self.check_version(id, account.version, record);
        self.model.accounts.insert(id.to_owned(), account);
    }

    pub(super) fn delete_account(&mut self, id: &str) {
        let Some(account) = self.account(id) else {
            return;
        };
        let user_id = self.model.users.get(&account.owner).map(|user| user.id);
        let wanted = json!({
            "service_account_id": id, "user_id": user_id, "public_id": account.owner,
            "version": account.version + 1});
        self.claim_saying("IdentityPermissionsDeleted", id, &wanted);
        for token in self.model.tokens.values_mut().filter(|token| token.account == id) {
            token.is_deleted = true;
        }
        self.model.accounts.insert(id.to_owned(), Account { is_deleted: true, ..account });
    }

    pub(super) fn create_token(&mut self, id: &str, account: &str, name: &str) {
        if self.account(account).is_none() {
            return;
        }
        let (account, name) = (account.to_owned(), name.to_owned());
        let token = Token { account, name, is_deleted: false };
        if self.model.tokens.insert(id.to_owned(), token).is_some() {
            self.find(id, "was created twice");
        }
    }

    pub(super) fn delete_token(&mut self, id: &str) {
        match self.model.tokens.get_mut(id) {
            Some(token) => token.is_deleted = true,
            None => self.find(id, "was revoked while it was not there"),
        }
    }
}
