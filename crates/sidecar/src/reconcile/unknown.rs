//! Events of the stream that the database knows nothing of: those of a future that it
//! was taken back from.

use std::collections::HashMap;
use std::fmt;

use anyhow::Context;
use async_nats::jetstream::stream::Stream;
use edd_auth_events::{EventData, Kind};
use futures::{StreamExt, TryStreamExt};
use serde_json::json;
use sqlx::PgConnection;

use super::messages::{self, Message};

/// Messages that are read at the same time.
const AT_ONCE: usize = 32;

/// An entity that the stream says more of than the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entity {
    /// Its last event in the stream that has no row.
    pub(super) last: EventData,
    /// The highest version in such an event; none of a session.
    pub(super) version: Option<i64>,
    /// How many such events there are.
    events: usize,
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, events) = (self.last.kind(), self.events);
        let (sort, id) = (kind.entity(), self.last.entity_id());
        write!(f, "{sort} {id}: {events} events, the last a {kind}")?;
        self.version.map_or(Ok(()), |version| write!(f, ", version {version}"))
    }
}

/// What the stream has and the outbox has not.
#[derive(Debug, Default)]
pub(super) struct Unknown {
    /// How many events.
    pub(super) events: usize,
    /// Of what.
    pub(super) entities: Vec<Entity>,
    /// The highest number of a user in any of them.
    pub(super) highest_user_id: Option<i32>,
    /// The subjects of messages that are no events of this service.
    pub(super) others: Vec<String>,
}

impl Unknown {
    /// Reads messages, the newest first, until one that was stored before `since`, in
    /// seconds since 1970: the outbox keeps no rows of those.
    pub(super) async fn read(
        stream: &Stream,
        sequences: Vec<u64>,
        since: i64,
    ) -> anyhow::Result<Self> {
        let messages = futures::stream::iter(sequences)
            .map(|sequence| messages::message(stream, sequence))
            .buffered(AT_ONCE)
            .try_filter_map(|message| std::future::ready(Ok(message)))
            .try_take_while(|message| std::future::ready(Ok(message.time >= since)));
        let mut messages = std::pin::pin!(messages);
        let mut unknown = Self::default();
        let mut places = HashMap::new();
        while let Some(message) = messages.try_next().await? {
            unknown.add(&mut places, message);
        }
        Ok(unknown)
    }

    /// Adds a message that is older than those before it.
    fn add(&mut self, places: &mut HashMap<(&'static str, String), usize>, message: Message) {
        let Some(event) = message.event else {
            self.others.push(message.subject);
            return;
        };
        self.events += 1;
        self.highest_user_id = self.highest_user_id.max(Some(user_id(&event)));
        let version = version(&event);
        match places.entry((event.kind().entity(), event.entity_id())) {
            std::collections::hash_map::Entry::Occupied(place) => {
                let entity = &mut self.entities[*place.get()];
                entity.events += 1;
                entity.version = entity.version.max(version);
            }
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(self.entities.len());
                self.entities.push(Entity { last: event, version, events: 1 });
            }
        }
    }

    /// Those entities whose consumers have not been put right by a later event.
    ///
    /// # Errors
    ///
    /// A database error.
    pub(super) async fn unanswered(
        &self,
        connection: &mut PgConnection,
    ) -> anyhow::Result<Vec<&Entity>> {
        let entity = |(place, entity): (usize, &Entity)| {
            json!({
                "place": place,
                "entity_id": entity.last.entity_id(),
                "version": entity.version,
                "ended": entity.last.kind() == Kind::SessionInvalidated,
            })
        };
        let entities: Vec<_> = self.entities.iter().enumerate().map(entity).collect();
        let places: Vec<i32> = sqlx::query_scalar(include_str!("unanswered.sql"))
            .bind(serde_json::to_string(&entities)?)
            .fetch_all(connection)
            .await
            .context("database")?;
        places.into_iter().map(|place| Ok(&self.entities[usize::try_from(place)?])).collect()
    }
}

fn user_id(event: &EventData) -> i32 {
    match event {
        EventData::UserCreated(data) => data.user_id,
        EventData::UserUpdated(data) => data.user_id,
        EventData::UserDeleted(data) => data.user_id,
        EventData::SessionCreated(data) => data.user_id,
        EventData::SessionInvalidated(data) => data.user_id,
        EventData::IdentityPermissionsUpdated(data) => data.user_id,
        EventData::IdentityPermissionsDeleted(data) => data.user_id,
    }
}

fn version(event: &EventData) -> Option<i64> {
    match event {
        EventData::UserCreated(data) => Some(data.version),
        EventData::UserUpdated(data) => Some(data.version),
        EventData::UserDeleted(data) => Some(data.version),
        EventData::SessionCreated(_) | EventData::SessionInvalidated(_) => None,
        EventData::IdentityPermissionsUpdated(data) => Some(data.version),
        EventData::IdentityPermissionsDeleted(data) => Some(data.version),
    }
}

#[cfg(test)]
mod tests {
    use edd_auth_events::{UserDeleted, UserUpdated};

    use super::*;

    #[test]
    fn events_of_an_entity_are_one_with_the_highest_version_and_the_last_state() {
        let (public_id, username) = ("AAAAAA".to_owned(), "ada".to_owned());
        let updated = |version| {
            EventData::UserUpdated(UserUpdated {
                user_id: 7,
                public_id: public_id.clone(),
                username: username.clone(),
                display_name: None,
                version,
            })
        };
        let deleted = EventData::UserDeleted(UserDeleted {
            user_id: 7,
            public_id: public_id.clone(),
            username: username.clone(),
            version: 5,
        });
        let mut unknown = Unknown::default();
        let mut places = HashMap::new();
        for event in [Some(deleted.clone()), Some(updated(4)), None, Some(updated(6))] {
            let message = Message { subject: "auth.other".to_owned(), time: 0, event };
            unknown.add(&mut places, message);
        }
        let entity = Entity { last: deleted, version: Some(6), events: 3 };
        let line = "user AAAAAA: 3 events, the last a UserDeleted, version 6";
        assert_eq!(entity.to_string(), line);
        assert_eq!(unknown.entities, [entity]);
        assert_eq!((unknown.events, unknown.highest_user_id), (3, Some(7)));
        assert_eq!(unknown.others, ["auth.other"]);
    }
}
