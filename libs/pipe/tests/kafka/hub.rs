//! A data folder, topics of the test's own, a stage that counts each line in its state, and that stage as a process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use pipe::config::{Config, Place, StageKind};
use pipe::topic::Class;
use pipe::{Exit, Job, Line, Metrics, Out, Signals, Sink, Stage, StageError, run};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use registry::db::{Db, Home, Schema, Tx};

const SEEN: Schema =
    Schema { name: "seen", migrations: &["CREATE TABLE seen (line TEXT PRIMARY KEY, n BIGINT NOT NULL)"] };

/// The broker of this test; none: it is skipped, but never in CI.
pub fn broker() -> Option<String> {
    let found = std::env::var("ZENTRAL_TEST_KAFKA").ok();
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "ZENTRAL_TEST_KAFKA is not set");
        eprintln!("skipped: no Kafka (scripts/services start kafka)");
    }
    found
}

/// Copies lines, and counts in its state how often it saw each.
#[derive(Default)]
pub struct Counts {
    /// How long a batch takes, at least.
    pub pause: Duration,
    /// How long it rests after a commit.
    pub rest: Duration,
}

impl Stage for Counts {
    fn schema(&self) -> Option<Schema> {
        Some(SEEN)
    }

    fn batch(&mut self, lines: &[Line<'_>], out: &mut Out, state: &mut Tx<'_>) -> Result<(), StageError> {
        for line in lines {
            let sql = "INSERT INTO seen (line, n) VALUES ($1, 1) ON CONFLICT (line) DO UPDATE SET n = seen.n + 1";
            let text = String::from_utf8_lossy(&line.bytes[..line.bytes.len().min(80)]).into_owned();
            state.execute(sql, &[text.into()])?;
            out.line(0, line.bytes).unwrap();
            out.done();
        }
        std::thread::sleep(self.pause);
        Ok(())
    }

    fn committed(&mut self) -> Result<(), StageError> {
        std::thread::sleep(self.rest);
        Ok(())
    }

    fn batch_bytes(&self) -> usize {
        4 << 10
    }
}

pub struct Hub {
    pub dir: tempfile::TempDir,
    pub brokers: String,
    pub prefix: String,
    pub config: Arc<Config>,
    /// What the test's own clients need besides.
    pub login: Vec<(&'static str, String)>,
}

impl Hub {
    pub fn new(brokers: &str, name: &str, more: &str) -> Self {
        static LOG: Once = Once::new();
        LOG.call_once(|| pipe::log::init("test", "debug", pipe::log::LogFormat::Text, Some(false)));
        let dir = tempfile::tempdir().unwrap();
        let prefix = format!("t{}-{name}.", std::process::id());
        let text =
            format!("version = 1\n[kafka]\nbrokers = [\"{brokers}\"]\nprefix = \"{prefix}\"\npartitions = 3\n{more}\n");
        std::fs::write(dir.path().join("pipeline.toml"), text).unwrap();
        let config = load(dir.path());
        Self { dir, brokers: brokers.to_owned(), prefix, config, login: Vec::new() }
    }

    pub fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Of the stage.
    pub fn group(&self) -> String {
        format!("{}zentral-counts", self.prefix)
    }

    pub fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.brokers).set("message.max.bytes", "6000000");
        for (name, value) in &self.login {
            client.set(*name, value);
        }
        client
    }

    pub fn admin(&self) -> (AdminClient<DefaultClientContext>, tokio::runtime::Runtime) {
        (self.client().create().unwrap(), tokio::runtime::Builder::new_current_thread().build().unwrap())
    }

    pub fn make(&self, name: &str, max: &str) {
        let (admin, runtime) = self.admin();
        let topic = self.topic(name);
        let new = NewTopic::new(&topic, 3, TopicReplication::Fixed(1)).set("max.message.bytes", max);
        for made in runtime.block_on(admin.create_topics([&new], &AdminOptions::new())).unwrap() {
            made.unwrap();
        }
        std::thread::sleep(Duration::from_millis(300));
    }

    pub fn delete(&self, name: &str) {
        let (admin, runtime) = self.admin();
        let topic = self.topic(name);
        for gone in runtime.block_on(admin.delete_topics(&[&topic], &AdminOptions::new())).unwrap() {
            gone.unwrap();
        }
    }

    /// Writes lines as a stranger does.
    pub fn write(&self, name: &str, lines: impl Iterator<Item = (String, Vec<u8>)>) {
        let producer: BaseProducer = self.client().create().unwrap();
        for (key, line) in lines {
            let topic = self.topic(name);
            while producer.send(BaseRecord::to(&topic).key(&key).payload(&line)).is_err() {
                producer.poll(Duration::from_millis(50));
            }
        }
        producer.flush(Duration::from_secs(30)).unwrap();
    }

    /// Lines of a partition, each written at such a time (ms since 1970).
    pub fn write_to(&self, name: &str, partition: i32, lines: impl Iterator<Item = (i64, Vec<u8>)>) {
        // A batch is what the broker measures.
        let producer: BaseProducer = self.client().set("batch.size", "1000000").create().unwrap();
        let topic = self.topic(name);
        for (at, line) in lines {
            let record = || BaseRecord::<(), [u8]>::to(&topic).partition(partition).timestamp(at).payload(&line);
            while producer.send(record()).is_err() {
                producer.poll(Duration::from_millis(50));
            }
        }
        producer.flush(Duration::from_secs(60)).unwrap();
    }

    /// What a broker does with lines that are too old: those before this one of a partition go.
    pub fn forget(&self, name: &str, partition: i32, before: i64) {
        let (admin, runtime) = self.admin();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic(name), partition, Offset::Offset(before)).unwrap();
        runtime.block_on(admin.delete_records(&list, &AdminOptions::new())).unwrap();
    }

    /// All messages of a topic, by partition, with their keys.
    pub fn read(&self, name: &str) -> Vec<(i32, Option<Vec<u8>>, Vec<u8>)> {
        let consumer: BaseConsumer = self.client().set("group.id", "t").create().unwrap();
        let topic = self.topic(name);
        let metadata = consumer.fetch_metadata(Some(&topic), Duration::from_secs(10)).unwrap();
        let (mut list, mut left) = (TopicPartitionList::new(), 0);
        for partition in metadata.topics()[0].partitions() {
            let (low, high) = consumer.fetch_watermarks(&topic, partition.id(), Duration::from_secs(10)).unwrap();
            list.add_partition_offset(&topic, partition.id(), Offset::Beginning).unwrap();
            left += high - low;
        }
        consumer.assign(&list).unwrap();
        let (begun, mut all) = (Instant::now(), Vec::new());
        while left > 0 {
            assert!(begun.elapsed() < Duration::from_secs(60), "{left} messages did not come");
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
                let (key, line) = (message.key().map(<[u8]>::to_vec), message.payload().unwrap_or_default().to_vec());
                all.push((message.partition(), key, line));
                left -= 1;
            }
        }
        all
    }

    pub fn job(&self, name: &str) -> Job {
        job(&self.config, name)
    }

    /// Runs the stage over what is there now.
    pub fn once(&self, name: &str) -> Exit {
        run(&mut Counts::default(), Job { once: true, ..self.job(name) })
    }

    /// How often the stage's state saw each line.
    pub fn seen(&self) -> BTreeMap<String, i64> {
        let Some(db) = Db::open_read_only(&self.state()).unwrap() else { return BTreeMap::new() };
        let rows = db.query("SELECT line, n FROM seen", &[]).unwrap_or_default();
        rows.iter().map(|row| (row.text(0).to_owned(), row.int(1))).collect()
    }

    /// The state of a source, which is there before it opens what it writes to.
    pub fn source(&self) -> Home {
        std::fs::create_dir_all(self.config.data.join("state")).unwrap();
        self.config.homes().state("receive")
    }

    pub fn state(&self) -> PathBuf {
        self.config.data.join("state/counts.db")
    }

    /// Every one of `n` lines was seen, and none twice.
    pub fn assert_exact(&self, n: usize) {
        let seen = self.seen();
        let twice: Vec<_> = seen.iter().filter(|(_, n)| **n != 1).take(5).collect();
        assert_eq!((seen.len(), twice), (n, Vec::new()));
    }

    /// The stage as a process; its log goes to a file.
    pub fn process(&self, instance: u32) -> Process {
        self.process_with(instance, &[])
    }

    pub fn process_with(&self, instance: u32, env: &[(&str, &str)]) -> Process {
        let log = self.dir.path().join(format!("log-{instance}"));
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "hub::as_a_process", "--nocapture", "--ignored"])
            .env("TEST_STAGE_IN", self.dir.path())
            .env("TEST_INSTANCE", instance.to_string())
            .envs(env.iter().copied())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Process(child)
    }

    /// How often an instance was given partitions.
    pub fn shares(&self, instance: u32) -> usize {
        self.log(instance).matches("reads partitions [").count()
    }

    pub fn log(&self, instance: u32) -> String {
        std::fs::read_to_string(self.dir.path().join(format!("log-{instance}"))).unwrap_or_default()
    }
}

pub fn load(dir: &Path) -> Arc<Config> {
    Arc::new(Config::load(&dir.join("pipeline.toml"), Some(&dir.join("data"))).unwrap().0)
}

pub fn job(config: &Arc<Config>, name: &str) -> Job {
    let place = |name: &str| Place::Kafka(name.into());
    Job {
        name: "counts".into(),
        kind: StageKind::Normalize,
        instance: None,
        from: vec![place(name)],
        to: vec![Some(place("out"))],
        state: Some(config.homes().state("counts")),
        start: None,
        once: false,
        config: config.clone(),
        reload: None,
        signals: Signals::default(),
        metrics: Metrics::new("counts"),
    }
}

pub struct Process(Child);

impl Process {
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap();
        let _ = rustix::process::kill_process(pid, signal);
    }

    pub fn alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    pub fn end(&mut self) -> Option<i32> {
        self.0.wait().unwrap().code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn wait_for(what: &str, seconds: u64, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(seconds), "waited {seconds} s for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Gives lines to the topic `raw` until it is stopped, as `receive` does, whether or not they are taken.
fn source(config: &Arc<Config>, signals: &Signals) -> ! {
    let (place, metrics) = (Place::Kafka("raw".into()), Metrics::new("receive"));
    let sink = Sink::open("receive", &place, config, None, metrics, |e| panic!("{e}")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    while !signals.stopping() {
        let _ = runtime.block_on(sink.write(b"{\"source\":\"s\"}\n".to_vec(), 1, Class::Source));
        std::thread::sleep(Duration::from_millis(50));
    }
    std::process::exit(0)
}

/// Not a test: what [`Hub::process`] starts.
#[test]
#[ignore = "started by others"]
fn as_a_process() {
    let Some(dir) = std::env::var_os("TEST_STAGE_IN") else { return };
    pipe::log::init("counts", "debug", pipe::log::LogFormat::Text, Some(false));
    if std::env::var_os("TEST_SOURCE").is_some() {
        source(&load(Path::new(&dir)), &Signals::listen().unwrap());
    }
    let instance = std::env::var("TEST_INSTANCE").unwrap().parse().unwrap();
    let mut job = job(&load(Path::new(&dir)), "in");
    job.instance = (instance > 0).then_some(instance);
    job.signals = Signals::listen().unwrap();
    let turn = std::env::var("TEST_PAUSE_MS").map_or(20, |ms| ms.parse().unwrap());
    let turn = Duration::from_millis(turn);
    let rests = std::env::var_os("TEST_RESTS").is_some();
    let (pause, rest) = if rests { (Duration::ZERO, turn) } else { (turn, Duration::ZERO) };
    let exit = run(&mut Counts { pause, rest }, job);
    std::process::exit(exit as i32);
}
