//! The topics: created if they are missing, looked at if they are there, never changed.

use std::{sync::Arc, time::Duration};

use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};
use tokio::time::Instant;

use super::{context::Lines, off_thread, settings::KafkaSettings};

/// The pause between two attempts to reach the brokers.
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// How long a client tries to connect that tells why it cannot.
const TELL_WITHIN: Duration = Duration::from_secs(2);

/// Partitions of a new dead-letter topic: nobody is in a hurry there.
const DEAD_LETTER_PARTITIONS: i32 = 1;

/// Dead letters are kept until people have dealt with them.
const DEAD_LETTER_RETENTION_MS: &str = "-1";

type Admin = AdminClient<Lines>;

/// The topics are not there for now, or can never serve.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error("topic {topic} cannot be created: {code}")]
    NotCreated { topic: String, code: RDKafkaErrorCode },
    #[error("topic {0} does not exist, and this user may not create it")]
    Missing(String),
    #[error("topic {0} has partitions without a leader")]
    Leaderless(String),
    #[error(
        "topic {0} is compacted: orders that were not yet written would disappear; set its cleanup.policy to delete"
    )]
    Compacted(String),
}

impl TopicError {
    /// Whether waiting cannot help.
    fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Compacted(_) | Self::Kafka(KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_))
        )
    }
}

/// Makes sure that both topics serve; returns how many in-sync replicas the order topic asks for. Waits for brokers up to
/// `start_within`.
pub(super) async fn ensure(settings: &KafkaSettings) -> Result<usize, TopicError> {
    let admin: Arc<Admin> = Arc::new(settings.client().create_with_context(Lines)?);
    let deadline = Instant::now() + settings.start_within;
    let mut is_first = true;
    let ensured = loop {
        match attempt(&admin, settings).await {
            Err(error) if !error.is_final() && Instant::now() < deadline => {
                tracing::warn!(%error, brokers = settings.brokers, "Kafka's topics are not ready; trying again");
                if std::mem::take(&mut is_first) {
                    let settings = settings.clone();
                    let _ = tokio::task::spawn_blocking(move || tell_why(&settings)).await;
                }
                tokio::time::sleep(RETRY_EVERY).await;
            }
            done => break done,
        }
    };
    off_thread(move || drop(admin));
    ensured
}

/// Lets a client connect that tells what it meets, such as a wrong password or an unknown certificate: the administrator's keeps
/// that to itself, and only times out. Blocks for `TELL_WITHIN`.
fn tell_why(settings: &KafkaSettings) {
    let teller: KafkaResult<BaseConsumer<Lines>> = settings.observer().create_with_context(Lines);
    let Ok(teller) = teller else { return };
    if teller.fetch_metadata(Some(&settings.topic), TELL_WITHIN).is_err() {
        while teller.poll(Duration::ZERO).is_some() {}
    }
}

async fn attempt(admin: &Arc<Admin>, settings: &KafkaSettings) -> Result<usize, TopicError> {
    create(admin, settings).await?;
    for (topic, partitions) in
        [(&settings.topic, settings.partitions), (&settings.dead_letter_topic, DEAD_LETTER_PARTITIONS)]
    {
        let found = count_partitions(admin, topic.clone(), settings.request_timeout).await?;
        if found < usize::try_from(partitions).unwrap_or(0) {
            tracing::warn!(
                topic,
                found,
                wanted = partitions,
                "a Kafka topic has fewer partitions than it should; it is left as it is"
            );
        }
    }
    in_sync_min(admin, settings).await
}

async fn create(admin: &Admin, settings: &KafkaSettings) -> Result<(), TopicError> {
    let retention = settings.retention.as_millis().to_string();
    let replication = || TopicReplication::Fixed(settings.replication);
    let orders = NewTopic::new(&settings.topic, settings.partitions, replication())
        .set("cleanup.policy", "delete")
        .set("retention.ms", &retention);
    let dead_letters = NewTopic::new(&settings.dead_letter_topic, DEAD_LETTER_PARTITIONS, replication())
        .set("cleanup.policy", "delete")
        .set("retention.ms", DEAD_LETTER_RETENTION_MS);
    for answer in admin.create_topics([&orders, &dead_letters], &options(settings)).await? {
        match answer {
            Ok(topic) => tracing::info!(topic, "a Kafka topic was created"),
            // Who may not create may still use what is there.
            Err((
                _,
                RDKafkaErrorCode::TopicAlreadyExists
                | RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed,
            )) => {}
            Err((topic, code)) => return Err(TopicError::NotCreated { topic, code }),
        }
    }
    Ok(())
}

async fn count_partitions(admin: &Arc<Admin>, topic: String, within: Duration) -> Result<usize, TopicError> {
    let admin = Arc::clone(admin);
    let asked = tokio::task::spawn_blocking(move || {
        let metadata = admin.inner().fetch_metadata(Some(&topic), within)?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let Some(found) = found.filter(|found| !found.partitions().is_empty()) else {
            return Err(TopicError::Missing(topic));
        };
        if found.partitions().iter().any(|partition| partition.leader() < 0) {
            return Err(TopicError::Leaderless(topic));
        }
        Ok(found.partitions().len())
    });
    asked.await.unwrap_or(Err(TopicError::Kafka(KafkaError::Canceled)))
}

/// How many in-sync replicas the order topic asks for; 1 if this user may not know. A topic that forgets is refused.
async fn in_sync_min(admin: &Admin, settings: &KafkaSettings) -> Result<usize, TopicError> {
    let described =
        admin.describe_configs([&ResourceSpecifier::Topic(&settings.topic)], &options(settings)).await?;
    let Some(Ok(config)) = described.first() else { return Ok(1) };
    let value = |name| config.get(name).and_then(|entry| entry.value.as_deref());
    if value("cleanup.policy").is_some_and(|policy| policy.contains("compact")) {
        return Err(TopicError::Compacted(settings.topic.clone()));
    }
    Ok(value("min.insync.replicas").and_then(|least| least.parse().ok()).unwrap_or(1))
}

fn options(settings: &KafkaSettings) -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(settings.request_timeout))
        .operation_timeout(Some(settings.request_timeout))
}
