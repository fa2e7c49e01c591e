//! What changes have left against what is in the tables, both ways.

use std::collections::BTreeMap;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordVerifier};
use serde_json::{Value, json};

use super::evidence::Evidence;
use super::findings::Findings;
use super::model::Model;
use crate::history::password;

/// Things by their ids.
pub(crate) type ById<'a> = BTreeMap<&'a str, Value>;

/// Compares all tables.
pub(crate) fn compare(model: &Model<'_>, evidence: &Evidence, findings: &mut Findings) {
    compare_users(model, evidence, findings);
    let wanted: ById<'_> = model
        .sessions
        .iter()
        .filter(|(_, session)| session.ended_by.is_none())
        .map(|(id, s)| (&**id, json!({"user": s.user, "expires_at": s.expires_at})))
        .collect();
    let rows = evidence.sessions.iter();
    let found = rows.map(|row| (&*row.id, json!({"user": row.user, "expires_at": row.expires_at})));
    differences("sessions", &wanted, &found.collect(), findings);

    let wanted: ById<'_> = model
        .accounts
        .iter()
        .filter(|(_, account)| !account.is_deleted)
        .map(|(id, a)| (&**id, json!([a.owner, a.name, a.scopes, a.version])))
        .collect();
    let rows = evidence.accounts.iter();
    let found = rows.map(|row| (&*row.id, json!([row.owner, row.name, row.scopes, row.version])));
    differences("service_accounts", &wanted, &found.collect(), findings);

    let wanted: ById<'_> = model
        .tokens
        .iter()
        .filter(|(_, token)| !token.is_deleted)
        .map(|(id, token)| (&**id, json!([token.account, token.name])))
        .collect();
    let rows = evidence.tokens.iter();
    let found = rows.map(|row| (&*row.id, json!([row.account, row.name])));
    differences("api_tokens", &wanted, &found.collect(), findings);
}

fn compare_users(model: &Model<'_>, evidence: &Evidence, findings: &mut Findings) {
    let wanted: ById<'_> = model
        .users
        .iter()
        .filter(|(_, user)| !user.is_deleted)
        .map(|(id, u)| {
            let row = json!([u.id, u.username, u.display_name, u.disabled, u.version]);
            (&**id, row)
        })
        .collect();
    let rows = evidence.users.iter();
    let found: ById<'_> = rows
        .map(|u| {
            let row = json!([u.id, u.username, u.display_name, u.disabled, u.version]);
            (&*u.public_id, row)
        })
        .collect();
    differences("users", &wanted, &found, findings);
    for row in &evidence.users {
        let number = model.users.get(&row.public_id).and_then(|user| user.password);
        if number.is_some_and(|number| !is_hash_of(&row.password_hash, &password(number))) {
            findings.add(&row.public_id, "the password is not the one that was set last");
        }
    }
}

fn is_hash_of(hash: &str, password: &str) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else {
        return false;
    };
    Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
}

/// Reports what is in one place only, or is different there.
pub(crate) fn differences(
    place: &str,
    wanted: &ById<'_>,
    found: &ById<'_>,
    findings: &mut Findings,
) {
    for (id, wanted) in wanted {
        match found.get(id) {
            None => findings.add(id, format!("is missing in {place}: {wanted}")),
            Some(found) if found != wanted => {
                findings.add(id, format!("is {found} in {place}, not {wanted}"));
            }
            Some(_) => {}
        }
    }
    for (id, found) in found.iter().filter(|(id, _)| !wanted.contains_key(*id)) {
        findings.add(id, format!("should not be in {place}: {found}"));
    }
}
