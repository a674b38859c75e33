//! Joined stages: the same lines as through a topic, one verdict for each, bounded in memory, all or nothing at a reload.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use pipe::config::{Config, Place, StageKind};
use pipe::fs::RealFs;
use pipe::topic::{Kept, Options, Start, TopicReader, TopicWriter};
use pipe::{Chain, Context, Exit, Job, Line, Metrics, Out, Signals, Stage, StageError, Waker, run, state};
use registry::db::{Db, Schema, Tx};

/// What stages were told, in order.
type Seen = Rc<RefCell<Vec<String>>>;

/// Gives each word of a line as a line, with `pad` bytes behind it; refuses `bad`, ignores empty lines.
struct Words {
    pad: usize,
    /// As [`Stage::commit_bytes`].
    share: usize,
    seen: Seen,
}

impl Stage for Words {
    fn schema(&self) -> Option<Schema> {
        Some(Schema { name: "words", migrations: &["CREATE TABLE words (word TEXT PRIMARY KEY, n BIGINT NOT NULL);"] })
    }

    fn batch(&mut self, lines: &[Line<'_>], out: &mut Out, state: &mut Tx<'_>) -> Result<(), StageError> {
        for line in lines {
            match line.bytes {
                b"" => out.ignored("empty"),
                b"bad" => out.refused(line, "bad", "a bad line"),
                words => {
                    for word in words.split(|b| *b == b' ') {
                        let text = std::str::from_utf8(word).unwrap();
                        let sql = "INSERT INTO words (word, n) VALUES ($1, 1) ON CONFLICT (word) DO UPDATE SET n = words.n + 1";
                        state.execute(sql, &[text.into()]).unwrap();
                        out.line(0, &[word, &vec![b'x'; self.pad]].concat()).unwrap();
                        out.relieve(state)?;
                    }
                    out.done();
                }
            }
        }
        Ok(())
    }

    fn reload(&mut self, config: &Arc<Config>) -> Result<(), StageError> {
        self.seen.borrow_mut().push(format!("words {}", config.data.display()));
        Ok(())
    }

    fn committed(&mut self) -> Result<(), StageError> {
        self.seen.borrow_mut().push("commit".into());
        Ok(())
    }

    fn commit_bytes(&self) -> usize {
        self.share
    }
}

/// Every line to `to`, those with an `a` to `matches`; refuses `ugly…`, ignores `quiet…`.
struct Pick {
    seen: Seen,
    /// Bytes and lines of its largest batch.
    most: Rc<RefCell<(usize, usize)>>,
    batches: Rc<RefCell<usize>>,
    pending: bool,
}

impl Stage for Pick {
    fn outputs(&self) -> &'static [&'static str] {
        &["to", "matches"]
    }

    fn batch(&mut self, lines: &[Line<'_>], out: &mut Out, _: &mut Tx<'_>) -> Result<(), StageError> {
        let bytes = lines.iter().map(|l| l.bytes.len()).sum();
        let mut most = self.most.borrow_mut();
        *self.batches.borrow_mut() += 1;
        *most = (most.0.max(bytes), most.1.max(lines.len()));
        for line in lines {
            if line.bytes.starts_with(b"ugly") {
                out.refused(line, "ugly", format!("line {} of input {}", line.number, line.input));
            } else if line.bytes.starts_with(b"quiet") {
                out.ignored("quiet");
            } else {
                out.line(0, line.bytes).unwrap();
                if line.bytes.contains(&b'a') {
                    out.line(1, line.bytes).unwrap();
                }
                out.done();
            }
        }
        Ok(())
    }

    fn due(&self) -> bool {
        self.pending
    }

    fn idle(&mut self, out: &mut Out, _: &mut Tx<'_>) -> Result<(), StageError> {
        self.pending = false;
        out.line(0, b"idle").map_err(|_| StageError::state("too long"))
    }

    fn reload(&mut self, config: &Arc<Config>) -> Result<(), StageError> {
        self.seen.borrow_mut().push(format!("pick {}", config.data.display()));
        if config.data == Path::new("broken") { Err(StageError::usage("broken")) } else { Ok(()) }
    }
}

fn words(pad: usize) -> Words {
    Words { pad, share: 0, seen: Seen::default() }
}

fn pick() -> Pick {
    Pick { seen: Seen::default(), most: Rc::default(), batches: Rc::default(), pending: false }
}

fn chain(first: Words, second: Pick) -> Chain {
    let mut chain = Chain::new("words", Box::new(first));
    chain.add("pick", Box::new(second));
    chain
}

fn job(data: &Path, name: &str, from: &str, to: &[&str]) -> Job {
    let place = |name: &str| Place::Topic(name.into());
    Job {
        name: name.into(),
        kind: StageKind::Filter,
        from: vec![place(from)],
        to: to.iter().map(|name| Some(place(name))).collect(),
        state: Some((&data.join(format!("state/{name}.db"))).into()),
        start: None,
        once: true,
        config: Arc::new(Config::empty(Some(data))),
        instance: None,
        reload: None,
        signals: Signals::default(),
        metrics: Metrics::new(name),
    }
}

fn feed(data: &Path, lines: &str) {
    let raw = data.join("topics/raw");
    std::fs::create_dir_all(&raw).unwrap();
    let mut writer = TopicWriter::open(RealFs::shared(), &raw, Kept::WholeLines, Options::default()).unwrap();
    writer.append(lines.as_bytes(), lines.lines().count() as u64).unwrap();
    writer.sync().unwrap();
    writer.publish().unwrap();
}

fn read(data: &Path, topic: &str) -> Vec<u8> {
    let mut reader = TopicReader::open(RealFs::shared(), &data.join("topics").join(topic), Start::First).unwrap();
    let mut all = Vec::new();
    while let Some(chunk) = reader.read(1 << 20).unwrap() {
        all.extend_from_slice(chunk.bytes);
    }
    all
}

/// Counters as `name reason n`, those of the first stage and those whose names begin with `of`.
fn counters(data: &Path, name: &str, of: &str) -> Vec<String> {
    let db = Db::open_read_only(&data.join(format!("state/{name}.db"))).unwrap().unwrap();
    let all = state::counters(&db).unwrap();
    all.iter().filter_map(|(name, reason, n)| Some(format!("{} {reason} {n}", name.strip_prefix(of)?))).collect()
}

const LINES: &str = "alpha beta\nbad\n\nugly quiet gamma\nbad\nquietly ugly\nzeta\n";

#[test]
fn joined_stages_give_what_they_give_apart() {
    let (apart, joined) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for dir in [&apart, &joined] {
        feed(dir.path(), LINES);
    }
    assert_eq!(run(&mut words(0), job(apart.path(), "words", "raw", &["mid"])), Exit::Refused);
    assert_eq!(run(&mut pick(), job(apart.path(), "pick", "mid", &["to", "matches"])), Exit::Refused);
    let (mut stage, job) = (chain(words(0), pick()), job(joined.path(), "sift", "raw", &["to", "matches"]));
    let metrics = job.metrics.clone();
    assert_eq!(run(&mut stage, job), Exit::Refused);
    for topic in ["to", "matches"] {
        assert_eq!(read(joined.path(), topic), read(apart.path(), topic), "{topic}");
    }
    assert_eq!(read(joined.path(), "to"), b"alpha\nbeta\ngamma\nzeta\n");
    let first: Vec<_> = counters(joined.path(), "sift", "").into_iter().filter(|c| !c.contains('/')).collect();
    assert_eq!(first, counters(apart.path(), "words", ""));
    assert_eq!(first, ["done  4", "ignored empty 1", "in  7", "refused bad 2"]);
    let (mut second, mut want) = (counters(joined.path(), "sift", "pick/"), counters(apart.path(), "pick", ""));
    want.push("given  8".into());
    second.sort();
    want.sort();
    assert_eq!(second, want, "all that was given to it came in");

    let refused = std::fs::read_to_string(joined.path().join("refused/sift.ndjson")).unwrap();
    let all: Vec<serde_json::Value> = refused.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let told: Vec<String> =
        all.iter().map(|r| format!("{} {} {} {}", r["stage"], r["number"], r["line"], r["text"])).collect();
    let want = [
        r#""pick" 4 "ugly" "line 4 of input 0""#,
        r#""pick" 6 "ugly" "line 6 of input 0""#,
        r#"null 2 "bad" "a bad line""#,
        r#"null 5 "bad" "a bad line""#,
    ];
    assert_eq!(told, want, "by the numbers of the lines that came in");
    let metrics = String::from_utf8(metrics.text()).unwrap();
    for line in [
        r#"zentral_lines_in_total{stage="sift"} 7"#,
        r#"zentral_lines_in_total{stage="sift: pick"} 8"#,
        r#"zentral_lines_refused_total{reason="bad",stage="sift"} 2"#,
        r#"zentral_lines_refused_total{reason="pick: ugly",stage="sift"} 2"#,
        r#"zentral_lines_ignored_total{reason="pick: quiet",stage="sift"} 2"#,
        r#"zentral_lines_out_total{output="matches",stage="sift"} 4"#,
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    assert_eq!(metrics.matches("# TYPE zentral_lines_in_total ").count(), 1, "{metrics}");
}

#[test]
fn batches_that_share_a_commit_are_all_counted() {
    // How many do share one is a matter of time.
    for _ in 0..10 {
        let dir = tempfile::tempdir().unwrap();
        // 11 MiB in 1500 lines of three words; what is held for an output is more than it may be.
        let word = "x".repeat(8 << 10);
        let lines: String =
            (0..1500).map(|n| if n % 50 == 7 { "bad\n".into() } else { format!("{word}a quiet ugly\n") }).collect();
        feed(dir.path(), &lines);
        let (first, second) = (Words { share: 16 << 20, ..words(0) }, pick());
        let (seen, batches) = (first.seen.clone(), second.batches.clone());
        let (mut stage, job) = (chain(first, second), job(dir.path(), "sift", "raw", &["to", "matches"]));
        let metrics = job.metrics.clone();
        assert_eq!(run(&mut stage, job), Exit::Refused);
        let mut first = counters(dir.path(), "sift", "");
        first.retain(|c| !c.contains('/'));
        assert_eq!(first, ["done  1470", "in  1500", "refused bad 30"]);
        let second = counters(dir.path(), "sift", "pick/");
        assert_eq!(second, ["done  1470", "given  4410", "ignored quiet 1470", "in  4410", "refused ugly 1470"]);
        for topic in ["to", "matches"] {
            assert_eq!(read(dir.path(), topic).len(), 1470 * (word.len() + 2), "{topic}");
        }
        let metrics = String::from_utf8(metrics.text()).unwrap();
        for line in [
            r#"zentral_lines_in_total{stage="sift: pick"} 4410"#,
            r#"zentral_lines_ignored_total{reason="pick: quiet",stage="sift"} 1470"#,
            r#"zentral_lines_out_total{output="to",stage="sift"} 1470"#,
        ] {
            assert!(metrics.contains(line), "{line}: {metrics}");
        }
        // One at the start is of no batch.
        if *batches.borrow() > seen.borrow().len() - 1 {
            return;
        }
    }
    panic!("no two batches shared a commit");
}

#[test]
fn what_is_held_between_them_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    // One line of 400 words, each of which becomes one of 64 KiB: 25 MiB.
    feed(dir.path(), &format!("{}\n", vec!["w"; 400].join(" ")));
    let stage = pick();
    let most = stage.most.clone();
    let exit = run(&mut chain(words(64 << 10), stage), job(dir.path(), "sift", "raw", &["to", "matches"]));
    assert_eq!(exit, Exit::Done);
    assert_eq!(read(dir.path(), "to").len(), 400 * ((64 << 10) + 2));
    let (bytes, lines) = *most.borrow();
    assert!((4 << 20..=(4 << 20) + (66 << 10)).contains(&bytes), "{bytes} bytes, {lines} lines at once");
}

#[test]
fn work_without_input_is_the_chains() {
    let dir = tempfile::tempdir().unwrap();
    feed(dir.path(), "b\n");
    let stage = Pick { pending: true, ..pick() };
    assert_eq!(run(&mut chain(words(0), stage), job(dir.path(), "sift", "raw", &["to", "matches"])), Exit::Done);
    assert_eq!(read(dir.path(), "to"), b"idle\nb\n");
}

#[test]
fn a_reload_is_all_or_nothing() {
    let seen = Seen::default();
    let mut stage = chain(Words { seen: seen.clone(), ..words(0) }, Pick { seen: seen.clone(), ..pick() });
    let config = |data: &str| Arc::new(Config::empty(Some(Path::new(data))));
    let mut db = Db::memory(&stage.schemas()).unwrap();
    let (name, waker, metrics) = ("sift".to_owned(), Waker::default(), Metrics::new("sift"));
    stage.start(&Context { name, waker, metrics, config: config("old") }, &mut db.begin().unwrap()).unwrap();
    stage.reload(&config("new")).unwrap();
    assert_eq!(stage.reload(&config("broken")).unwrap_err().exit, Exit::Usage);
    let want = ["words new", "pick new", "words broken", "pick broken", "words new"];
    assert_eq!(*seen.borrow(), want, "whoever took it gives it back");
}
