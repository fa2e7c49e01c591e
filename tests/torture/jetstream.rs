//! The stream, as the campaign sets it up, looks at it and troubles it.

use std::time::Duration;

use anyhow::{Context, ensure};
use async_nats::jetstream::stream::{Config, DiscardPolicy};
use async_nats::jetstream::{self, ErrorCode, context::PublishErrorKind};

/// Of the events.
pub(crate) const STREAM: &str = "AUTH";

/// Takes the room away.
const FILLER: &str = "FILLER";

/// Enough for the events of an hour, and soon filled.
pub(crate) const CONFIGURATION: &str = "jetstream { max_file_store: 128MiB }\n";

/// A message of the filler: a bit less than nats-server takes.
const FILLER_BYTES: usize = 1_000_000;

/// How many of them would not fit twice.
const MOST_FILLERS: usize = 256;

async fn connect(url: &str) -> anyhow::Result<jetstream::Context> {
    Ok(jetstream::new(async_nats::connect(url).await?))
}

/// Makes the stream of the events. As the relay would, but for two things: it reserves no
/// room, so that the room can be taken away, and it refuses what it has no room for.
///
/// # Errors
///
/// When JetStream refuses it.
pub(crate) async fn create_stream(url: &str) -> anyhow::Result<()> {
    let config = Config {
        name: STREAM.to_owned(),
        subjects: vec!["auth.>".to_owned()],
        discard: DiscardPolicy::New,
        max_messages: 1_000_000,
        max_age: Duration::from_hours(7 * 24),
        duplicate_window: Duration::from_mins(10),
        ..Config::default()
    };
    connect(url).await?.create_stream(config).await?;
    Ok(())
}

/// How many messages the stream has, and the sequence of the last.
///
/// # Errors
///
/// When JetStream does not tell.
pub(crate) async fn state(url: &str) -> anyhow::Result<(u64, u64)> {
    let mut stream = connect(url).await?.get_stream(STREAM).await?;
    let state = &stream.info().await?.state;
    Ok((state.messages, state.last_sequence))
}

/// Fills JetStream until it takes no more messages, of nobody.
///
/// # Errors
///
/// When it can't be filled.
pub(crate) async fn fill(url: &str) -> anyhow::Result<()> {
    let jetstream = connect(url).await?;
    let subject = "filler";
    let config =
        Config { name: FILLER.to_owned(), subjects: vec![subject.to_owned()], ..Config::default() };
    jetstream.create_stream(config).await?;
    let message = vec![0; FILLER_BYTES];
    for _ in 0..MOST_FILLERS {
        let published = jetstream.publish(subject, message.clone().into()).await?.await;
        if let Err(error) = published {
            ensure!(is_full(&error), "JetStream, which is being filled, says: {error}");
            return Ok(());
        }
    }
    anyhow::bail!("JetStream takes more than {MOST_FILLERS} fillers")
}

fn is_full(error: &jetstream::context::PublishError) -> bool {
    use std::error::Error;
    let PublishErrorKind::Other = error.kind() else {
        return false;
    };
    let cause = error.source().and_then(|cause| cause.downcast_ref::<jetstream::Error>());
    cause.is_some_and(|error| {
        [ErrorCode::INSUFFICIENT_RESOURCES, ErrorCode::STORAGE_RESOURCES_EXCEEDED]
            .contains(&error.error_code())
    })
}

/// Gives the room back.
///
/// # Errors
///
/// When JetStream does not.
pub(crate) async fn empty(url: &str) -> anyhow::Result<()> {
    let deleted = connect(url).await?.delete_stream(FILLER).await.context("the filler")?;
    ensure!(deleted.success, "the filler stays");
    Ok(())
}
