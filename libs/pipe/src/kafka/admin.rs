//! Topics are looked at and made.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::client::{self, Link};
use super::{ASK, MESSAGE_MAX};
use crate::StageError;
use crate::config::{Config, Kafka};
use crate::topic::Start;

/// How long one try may take.
const STEP: Duration = Duration::from_millis(300);
/// How long the client may take to tell why a question was not answered.
const TELL: Duration = Duration::from_millis(50);

/// A topic as the brokers have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name on the brokers.
    pub topic: String,
    /// Its partitions.
    pub partitions: Vec<i32>,
    /// The longest message that it takes, in bytes; none: the brokers do not say.
    pub message_max: Option<u32>,
    /// It was made now.
    pub made: bool,
}

impl Found {
    /// What is wrong with it, for people.
    pub fn doubt(&self) -> Option<String> {
        let most = self.message_max.filter(|most| *most < MESSAGE_MAX)?;
        let topic = &self.topic;
        Some(format!(
            "topic {topic} takes messages of at most {most} bytes, and a line may be longer: longer ones will be \
             refused; set max.message.bytes of the topic to {MESSAGE_MAX}"
        ))
    }
}

/// A topic as it is now; none: there is none.
///
/// # Errors
/// No broker answers, or none lets us in.
pub fn look(config: &Config, name: &str) -> Result<Option<Found>, StageError> {
    let asker = Asker::new(config, name)?;
    Ok(asker.partitions()?.map(|partitions| asker.describe(partitions)))
}

/// Of each partition of a topic: its number, its first offset kept, and its end. None, where there is no topic.
///
/// # Errors
/// As [`look`].
pub fn ends(config: &Config, name: &str) -> Result<Vec<(i32, u64, u64)>, StageError> {
    let asker = Asker::new(config, name)?;
    let of = |partition| asker.ends(partition).map(|(low, high)| (partition, low, high));
    asker.partitions()?.unwrap_or_default().into_iter().map(of).collect()
}

/// The topic, made if it is not there.
pub(crate) fn ensure(config: &Config, name: &str) -> Result<Found, StageError> {
    let asker = Asker::new(config, name)?;
    if let Some(partitions) = asker.partitions()? {
        let found = asker.describe(partitions);
        if let Some(doubt) = found.doubt() {
            tracing::warn!("kafka:{name}: {doubt}");
        }
        return Ok(found);
    }
    if asker.has_token() {
        return Err(asker.fail("it is not there; with OAUTHBEARER topics are made by hand".to_owned()));
    }
    let made =
        asker.make(config.topics.of(name).keep_age).map_err(|e| asker.fail(format!("it cannot be made: {e}")))?;
    Ok(Found { made, ..asker.describe(asker.wait_for()?) })
}

/// Who asks about one topic, once.
pub(super) struct Asker {
    kafka: Kafka,
    topic: String,
    config: ClientConfig,
    consumer: BaseConsumer<Link>,
}

impl Asker {
    pub(super) fn new(config: &Config, name: &str) -> Result<Self, StageError> {
        let kafka = super::settings(config)?;
        let config = client::finish(client::common(kafka)?, kafka, &[])?;
        let consumer = config
            .create_with_context(Link::new(&format!("kafka:{name}"), kafka))
            .map_err(|e| StageError::usage(client::wrong(&e)))?;
        Ok(Self { kafka: kafka.clone(), topic: kafka.topic(name), config, consumer })
    }

    /// Whoever makes topics is no consumer, and cannot ask for a new token.
    fn has_token(&self) -> bool {
        self.kafka.sasl.as_ref().is_some_and(|sasl| sasl.token.is_some())
    }

    fn fail(&self, why: String) -> StageError {
        StageError::unreachable(format!("kafka topic {}: {why}", self.topic))
    }

    /// Asks until there is an answer, but no longer than [`ASK`].
    fn ask<T>(&self, question: impl Fn(&BaseConsumer<Link>) -> KafkaResult<T>) -> Result<T, StageError> {
        let begun = Instant::now();
        loop {
            let answer = question(&self.consumer);
            // What goes wrong with the connection is told here, and here a token is asked for.
            let patience = if answer.is_ok() { Duration::ZERO } else { TELL };
            while let Some(told) = self.consumer.poll(patience) {
                if let Err(e) = told {
                    tracing::trace!("{e}");
                }
            }
            match (answer, self.consumer.context().refused()) {
                (Ok(answer), _) => {
                    self.consumer.context().up();
                    return Ok(answer);
                }
                (Err(_), Some(refused)) => return Err(refused),
                (Err(e), None) if begun.elapsed() >= ASK => return Err(self.fail(format!("no broker answers: {e}"))),
                (Err(_), None) => {}
            }
        }
    }

    /// The partitions of the topic; none: there is no such topic.
    pub(super) fn partitions(&self) -> Result<Option<Vec<i32>>, StageError> {
        let metadata = self.ask(|consumer| consumer.fetch_metadata(Some(&self.topic), STEP))?;
        let found = metadata.topics().iter().find(|t| t.name() == self.topic);
        match found.and_then(|t| t.error().map(RDKafkaErrorCode::from)) {
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => return Ok(None),
            Some(code) => return Err(self.fail(code.to_string())),
            None => {}
        }
        let partitions = found.map(|t| t.partitions().iter().map(|p| p.id()).collect::<Vec<_>>());
        Ok(partitions.filter(|partitions| !partitions.is_empty()))
    }

    /// Where a partition begins and ends now.
    pub(super) fn ends(&self, partition: i32) -> Result<(u64, u64), StageError> {
        let (low, high) = match self.ask(|consumer| consumer.fetch_watermarks(&self.topic, partition, STEP)) {
            // The client does not say it otherwise than that nobody answers.
            Err(_) if self.partitions()?.is_some_and(|there| !there.contains(&partition)) => {
                return Err(self.fail(format!("it has no partition {partition}")));
            }
            answer => answer?,
        };
        Ok((u64::try_from(low).unwrap_or(0), u64::try_from(high).unwrap_or(0)))
    }

    /// Where a new reader starts in a partition that begins and ends there.
    pub(super) fn start(&self, partition: i32, (low, high): (u64, u64), start: Start) -> Result<u64, StageError> {
        match start {
            Start::First | Start::At(_) => Ok(low),
            Start::Last => Ok(high),
            Start::Age(ms) => Ok(self.since(partition, ms)?.unwrap_or(high)),
        }
    }

    /// The first message of the last `ms`.
    fn since(&self, partition: i32, ms: i64) -> Result<Option<u64>, StageError> {
        let fail = |e: KafkaError| self.fail(e.to_string());
        let since = Offset::Offset(event::Time::now().ms().saturating_sub(ms));
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, partition, since).map_err(fail)?;
        let found = self.ask(|consumer| consumer.offsets_for_times(list.clone(), STEP))?;
        Ok(found.find_partition(&self.topic, partition).and_then(|found| match found.offset() {
            Offset::Offset(at) => u64::try_from(at).ok(),
            _ => None,
        }))
    }

    fn admin(&self) -> Result<(AdminClient<DefaultClientContext>, tokio::runtime::Runtime), KafkaError> {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        Ok((self.config.create()?, runtime.map_err(|e| KafkaError::AdminOpCreation(e.to_string()))?))
    }

    /// Whether it was made now; somebody else may have been faster.
    fn make(&self, keep: Duration) -> Result<bool, KafkaError> {
        let (bytes, keep_ms) = (MESSAGE_MAX.to_string(), keep.as_millis().to_string());
        let new = NewTopic::new(&self.topic, self.kafka.partitions, TopicReplication::Fixed(self.kafka.replication))
            .set("max.message.bytes", &bytes)
            .set("compression.type", "zstd")
            .set("retention.ms", &keep_ms);
        let options = AdminOptions::new().request_timeout(Some(ASK)).operation_timeout(Some(ASK));
        let (admin, runtime) = self.admin()?;
        let answers = runtime.block_on(admin.create_topics([&new], &options))?;
        match answers.into_iter().next() {
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(false),
            Some(Err((_, code))) => Err(KafkaError::AdminOp(code)),
            Some(Ok(_)) | None => Ok(true),
        }
    }

    /// The brokers tell one another of a new topic; that takes a moment.
    fn wait_for(&self) -> Result<Vec<i32>, StageError> {
        let begun = Instant::now();
        loop {
            if let Some(partitions) = self.partitions()? {
                return Ok(partitions);
            }
            if begun.elapsed() > ASK {
                return Err(self.fail("it was made, and is not there".to_owned()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn describe(&self, partitions: Vec<i32>) -> Found {
        let ask = || {
            let (admin, runtime) = self.admin().ok()?;
            let asked = [ResourceSpecifier::Topic(&self.topic)];
            let options = AdminOptions::new().request_timeout(Some(ASK));
            let answers = runtime.block_on(admin.describe_configs(asked.iter(), &options)).ok()?;
            answers.into_iter().next()?.ok()?.get("max.message.bytes")?.value.as_deref()?.parse().ok()
        };
        // Whoever may not ask still writes: the broker says then what it does not take.
        Found {
            topic: self.topic.clone(),
            partitions,
            message_max: if self.has_token() { None } else { ask() },
            made: false,
        }
    }
}
