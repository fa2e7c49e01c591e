//! The cache of a consumer.

use super::{assert_found, to_the_end};

#[test]
fn that_is_not_what_the_tables_have() {
    // Only the table is wrong; and only the stream is.
    assert_found("ada001", "in a cache of users, not", |story| {
        story.evidence.users[1].version = 4;
    });
    assert_found("s2", "is missing in a cache of sessions", |story| {
        story.evidence.stream.retain(|message| message.subject != "auth.session.s2.created");
    });
    assert_found("s1", "should not be in a cache of sessions", |story| {
        to_the_end(story, "auth.session.s1.created");
    });
    assert_found("account1", "in a cache of identities, not", |story| {
        story.evidence.accounts[0].version = 1;
    });
    assert_found("bob002", "should not be in a cache of users", |story| {
        story.evidence.stream.retain(|message| message.subject != "auth.user.bob002.deleted");
    });
}
