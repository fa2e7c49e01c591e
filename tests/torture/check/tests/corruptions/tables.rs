//! The tables.

use serde_json::json;

use super::assert_found;

#[test]
fn an_acknowledged_change_that_is_not_in_them() {
    assert_found("ada001", "is missing in users", |story| {
        story.evidence.users.retain(|row| row.public_id != "ada001");
    });
    assert_found("ada001", "in users, not", |story| {
        story.evidence.users[1].username = "ada".to_owned();
    });
    assert_found("carl03", "in users, not", |story| {
        story.evidence.users[2].disabled = false;
    });
    assert_found("ada001", "the password is not the one", |story| {
        let other = story.evidence.users[2].password_hash.clone();
        story.evidence.users[1].password_hash = other;
    });
    assert_found("s2", "is missing in sessions", |story| {
        story.evidence.sessions.remove(1);
    });
    assert_found("s2", "in sessions, not", |story| {
        story.evidence.sessions[1].expires_at += 1;
    });
    assert_found("account1", "is missing in service_accounts", |story| {
        story.evidence.accounts.clear();
    });
    assert_found("account1", "in service_accounts, not", |story| {
        story.evidence.accounts[0].scopes = json!({});
    });
    assert_found("token1", "is missing in api_tokens", |story| {
        story.evidence.tokens.clear();
    });
}

#[test]
fn what_should_not_be_in_them() {
    assert_found("bob002", "should not be in users", |story| {
        let mut row = story.evidence.users[1].clone();
        row.public_id = "bob002".to_owned();
        story.evidence.users.push(row);
    });
    assert_found("s1", "should not be in sessions", |story| {
        story.evidence.sessions[1].id = "s1".to_owned();
    });
    assert_found("account2", "should not be in service_accounts", |story| {
        story.evidence.accounts[0].id = "account2".to_owned();
    });
    assert_found("token2", "should not be in api_tokens", |story| {
        story.evidence.tokens[0].id = "token2".to_owned();
    });
}
