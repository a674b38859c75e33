use std::io;
use std::path::Path;

use super::*;
use crate::fs::RealFs;
use crate::stage::Preparation;
use crate::stdio::Stdin;
use crate::topic::{Start, TopicReader};

/// Copies lines; counts what it is told.
#[derive(Default)]
struct Copy {
    reloads: usize,
    /// Without this file nothing is taken over.
    needs: Option<PathBuf>,
    commits: usize,
}

/// How long its preparation of a new configuration takes.
const PREPARATION: Duration = Duration::from_millis(60);

impl Stage for Copy {
    fn batch(&mut self, lines: &[Line<'_>], out: &mut Out, _: &mut Tx<'_>) -> Result<(), StageError> {
        for line in lines {
            out.line(0, line.bytes).unwrap();
            out.done();
        }
        Ok(())
    }

    fn commit_bytes(&self) -> usize {
        1 << 20
    }

    fn committed(&mut self) -> Result<(), StageError> {
        self.commits += 1;
        Ok(())
    }

    fn preparation(&self) -> Option<Preparation> {
        Some(Box::new(|_| {
            std::thread::sleep(PREPARATION);
            Ok(())
        }))
    }

    fn reload(&mut self, _: &Arc<Config>) -> Result<(), StageError> {
        self.reloads += 1;
        match &self.needs {
            Some(file) if !file.exists() => Err(StageError::usage("the file is not there")),
            _ => Ok(()),
        }
    }
}

fn job(data: &Path) -> Job {
    Job {
        name: "copy".into(),
        kind: StageKind::Normalize,
        instance: None,
        from: Vec::new(),
        to: vec![Some(Place::Topic("out".into()))],
        state: Some((&data.join("state/copy.db")).into()),
        start: None,
        once: true,
        config: Arc::new(Config::empty(Some(data))),
        reload: None,
        signals: Signals::default(),
        metrics: Metrics::new("copy"),
    }
}

#[test]
fn what_was_read_before_an_error_of_stdin_counts() {
    let dir = tempfile::tempdir().unwrap();
    let mut stage = Copy::default();
    let mut running = Loop::open(&mut stage, job(dir.path())).unwrap();
    running.inputs.push(Input::of(Stdin::of(0, [Ok("1\n2\n"), Ok("3\n"), Err(io::Error::other("torn"))])));
    running.behind.push(None);
    let error = running.run(&mut stage).unwrap_err();
    assert!(error.text.contains("torn"), "{error}");
    assert_eq!(stage.commits, 2, "one at the start, one for both blocks");
    let mut out = TopicReader::open(RealFs::shared(), &dir.path().join("topics/out"), Start::First).unwrap();
    assert_eq!(out.read(1 << 20).unwrap().unwrap().bytes, b"1\n2\n3\n");
}

#[test]
fn whoever_is_asked_to_reload_again_and_again_still_gets_on() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pipeline.toml");
    std::fs::write(&file, "version = 1\n").unwrap();
    let mut stage = Copy::default();
    let job = Job { reload: Some(file), ..job(dir.path()) };
    let mut running = Loop::open(&mut stage, job).unwrap();
    let begun = Instant::now();
    while stage.reloads < 2 {
        assert!(begun.elapsed() < Duration::from_secs(20), "{} reloads", stage.reloads);
        running.job.signals.reload();
        running.reload(&mut stage);
        std::thread::sleep(PREPARATION / 20);
    }
    // The last word counts: what was asked for meanwhile is begun.
    let before = stage.reloads;
    while stage.reloads == before {
        assert!(begun.elapsed() < Duration::from_secs(20), "the last one was forgotten");
        running.reload(&mut stage);
        std::thread::sleep(PREPARATION / 20);
    }
}

#[test]
fn what_was_refused_is_told_and_taken_over_once_it_can_be() {
    let dir = tempfile::tempdir().unwrap();
    let (file, needs) = (dir.path().join("pipeline.toml"), dir.path().join("key"));
    std::fs::write(&file, "version = 1\n").unwrap();
    let mut stage = Copy { needs: Some(needs.clone()), ..Copy::default() };
    let mut running = Loop::open(&mut stage, Job { reload: Some(file), ..job(dir.path()) }).unwrap();
    let metrics = running.job.metrics.clone();
    let told = |metrics: &Metrics| {
        let text = String::from_utf8(metrics.text()).unwrap();
        let texts: Vec<String> = metrics.wrong.all().iter().map(crate::wrong::Trouble::words).collect();
        (text.contains("zentral_reload_refused{stage=\"copy\"} 1"), texts)
    };
    assert_eq!(told(&metrics), (false, Vec::new()));
    running.job.signals.reload();
    let begun = Instant::now();
    let mut until = |running: &mut Loop, done: &dyn Fn() -> bool| {
        while !done() {
            assert!(begun.elapsed() < Duration::from_secs(60), "in vain");
            running.reload(&mut stage);
            std::thread::sleep(PREPARATION / 20);
        }
    };
    let text = "stage copy goes on with an older configuration: the file is not there".to_owned();
    until(&mut running, &|| told(&metrics) == (true, vec![text.clone()]));
    // Nobody asks again.
    std::fs::write(needs, "").unwrap();
    until(&mut running, &|| told(&metrics) == (false, Vec::new()));
}
