//! A consumer that knows nothing but the stream, and builds its cache from its start.
//! It ends with what the tables have.

use serde_json::{Value, json};

use super::evidence::{Evidence, Message};
use super::findings::Findings;
use super::tables::{ById, differences};

/// What a consumer knows.
#[derive(Default)]
struct Cache<'a> {
    users: ById<'a>,
    sessions: ById<'a>,
    identities: ById<'a>,
}

/// Replays the stream, and compares.
pub(crate) fn compare(evidence: &Evidence, findings: &mut Findings) {
    let mut cache = Cache::default();
    for message in &evidence.stream {
        cache.apply(message);
    }
    let users: ById<'_> = evidence
        .users
        .iter()
        .map(|u| (&*u.public_id, json!([u.id, u.username, u.display_name, u.version])))
        .collect();
    let id_of = |user: &str| users.get(user).map_or(Value::Null, |user| user[0].clone());
    let rows = evidence.sessions.iter();
    let sessions =
        rows.map(|row| (&*row.id, json!([id_of(&row.user), row.user, row.expires_at, row.id])));
    let rows = evidence.accounts.iter();
    let identities =
        rows.map(|row| (&*row.id, json!([id_of(&row.owner), row.owner, row.scopes, row.version])));
    // Wanted is what the tables have.
    differences("a cache of sessions", &sessions.collect(), &cache.sessions, findings);
    differences("a cache of identities", &identities.collect(), &cache.identities, findings);
    differences("a cache of users", &users, &cache.users, findings);
}

impl<'a> Cache<'a> {
    fn apply(&mut self, message: &'a Message) {
        let Some((kind, entity, what)) = message.subject_parts() else {
            return;
        };
        let data = &message.payload;
        let (things, fields) = match kind {
            "user" => (&mut self.users, ["user_id", "username", "display_name", "version"]),
            "session" => (&mut self.sessions, ["user_id", "public_id", "expires_at", "session_id"]),
            "identity" => (&mut self.identities, ["user_id", "public_id", "scopes", "version"]),
            _ => return,
        };
        if matches!(what, "deleted" | "invalidated") {
            things.remove(entity);
            return;
        }
        let thing = fields.iter().map(|field| data[*field].clone()).collect();
        things.insert(entity, thing);
    }
}
