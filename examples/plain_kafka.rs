//! For `scripts/bench kafka`: rdkafka with nothing of ours around it, and the same settings as in `libs/pipe/src/kafka`.
//! `plain_kafka produce BROKER TOPIC < lines`, `plain_kafka consume BROKER TOPIC > lines` (what is there now).
//! `produce` asks for the answers of all messages at the end only, `consume` keeps no position: the least that can be done.
#![allow(clippy::print_stderr, reason = "a program of its own")]

use std::error::Error;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// Bytes that are read or written at once.
const BLOCK: usize = 256 << 10;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where the key of a line begins; up to the next quote.
const KEY: &[u8] = b"\"serial_number\":\"";

/// Messages that the brokers did not take.
#[derive(Default)]
struct Failed(AtomicU64);

impl ClientContext for Failed {}

impl ProducerContext for Failed {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn produce(broker: &str, topic: &str) -> Result<u64, Box<dyn Error>> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", broker)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("compression.type", "zstd")
        .set("linger.ms", "2")
        .set("partitioner", "murmur2_random")
        .set("queue.buffering.max.kbytes", "65536")
        .set("message.max.bytes", "5242880");
    let producer: BaseProducer<Failed> = config.create_with_context(Failed::default())?;
    let (mut input, mut line, mut sent) = (BufReader::with_capacity(BLOCK, std::io::stdin().lock()), Vec::new(), 0);
    while input.read_until(b'\n', &mut line)? > 0 {
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let after = memchr::memmem::find(text, KEY).and_then(|at| text.get(at + KEY.len()..));
        let key = after.and_then(|after| after.split(|b| *b == b'"').next()).unwrap_or_default();
        let mut record = BaseRecord::to(topic).key(key).payload(text);
        while let Err((error, again)) = producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(error.into());
            }
            producer.poll(Duration::from_millis(10));
            record = again;
        }
        producer.poll(Duration::ZERO);
        sent += 1;
        line.clear();
    }
    producer.flush(PATIENCE)?;
    match producer.context().0.load(Ordering::Relaxed) {
        0 => Ok(sent),
        failed => Err(format!("{failed} messages were not taken").into()),
    }
}

fn consume(broker: &str, topic: &str) -> Result<u64, Box<dyn Error>> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", broker)
        .set("group.id", "plain")
        .set("enable.auto.commit", "false")
        .set("queued.max.messages.kbytes", "16384")
        .set("fetch.queue.backoff.ms", "10")
        .set("fetch.max.bytes", "8388608")
        .set("fetch.message.max.bytes", "2097152")
        .set("fetch.wait.max.ms", "100");
    let consumer: BaseConsumer = config.create()?;
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE)?;
    let (mut list, mut left) = (TopicPartitionList::new(), 0);
    for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
        let (low, high) = consumer.fetch_watermarks(topic, partition.id(), PATIENCE)?;
        list.add_partition_offset(topic, partition.id(), Offset::Offset(low))?;
        left += u64::try_from(high - low)?;
    }
    consumer.assign(&list)?;
    let (mut output, all) = (BufWriter::with_capacity(BLOCK, std::io::stdout().lock()), left);
    while left > 0 {
        let message = consumer.poll(PATIENCE).ok_or("no message in time")??;
        output.write_all(message.payload().unwrap_or_default())?;
        output.write_all(b"\n")?;
        left -= 1;
    }
    output.flush()?;
    Ok(all)
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["produce", broker, topic] => produce(broker, topic),
        ["consume", broker, topic] => consume(broker, topic),
        _ => Err("usage: plain_kafka produce|consume BROKER TOPIC".into()),
    };
    match done {
        Ok(_) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("plain_kafka: {why}");
            ExitCode::FAILURE
        }
    }
}
