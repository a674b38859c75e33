//! A new configuration while the stream goes on: it is read, and what takes its time is prepared, on a thread beside;
//! between two batches it takes the place of the old one.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use super::Loop;
use crate::config::{Config, render};
use crate::output::Output;
use crate::stage::{Preparation, Stage};

/// A configuration that was refused is tried again so often: what it names, such as the file of a secret, may be there now.
const AGAIN: Duration = Duration::from_secs(5);

/// A reload that is under way.
pub(super) struct Reload {
    done: Receiver<Result<Arc<Config>, String>>,
    /// The files have changed once more.
    again: bool,
}

impl Loop {
    /// Begins a reload that was asked for, ends one that is ready.
    pub(super) fn reload(&mut self, stage: &mut dyn Stage) {
        let due = self.refused.as_ref().is_some_and(|(_, at)| Instant::now() >= *at) && self.reloading.is_none();
        if self.job.signals.take_reload() || due {
            match &mut self.reloading {
                Some(reload) => reload.again = true,
                None => self.begin_reload(stage),
            }
        }
        let Some(reload) = &self.reloading else { return };
        let (ready, again) = match reload.done.try_recv() {
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => (Err("the thread that read it has ended".to_owned()), reload.again),
            Ok(ready) => (ready, reload.again),
        };
        self.reloading = None;
        match ready.and_then(|config| self.take_over(stage, config)) {
            Ok(()) => {
                tracing::info!("reloaded");
                self.refused = None;
                self.job.metrics.reloaded();
            }
            Err(text) => self.refuse(text),
        }
        // What was ready is in force all the same: whoever is asked again and again still gets on.
        if again {
            self.begin_reload(stage);
        }
    }

    /// The last good configuration goes on, and everybody is told; in the log what is new.
    fn refuse(&mut self, text: String) {
        if self.refused.as_ref().is_none_or(|(said, _)| *said != text) {
            tracing::error!("not reloaded, the last good configuration goes on: {text}");
        }
        self.job.metrics.reload_refused(&text);
        self.refused = Some((text, Instant::now() + AGAIN));
    }

    fn begin_reload(&mut self, stage: &dyn Stage) {
        let Some(path) = self.job.reload.clone() else { return };
        let (data, prepare) = (self.job.config.data.clone(), stage.preparation());
        let (send, done) = channel();
        let waker = self.job.signals.waker.clone();
        let started = std::thread::Builder::new().name("reload".into()).spawn(move || {
            // Whoever no longer waits has ended.
            let _ = send.send(read(&path, &data, prepare));
            waker.ring();
        });
        match started {
            Ok(_) => self.reloading = Some(Reload { done, again: false }),
            Err(e) => self.refuse(format!("cannot start a thread: {e}")),
        }
    }

    /// All new or all old: what a stage refuses changes nothing.
    fn take_over(&mut self, stage: &mut dyn Stage, config: Arc<Config>) -> Result<(), String> {
        stage.reload(&config).map_err(|e| e.to_string())?;
        for output in &mut self.out.outputs {
            if let Output::Topic(topic) = output {
                topic.reload(&config);
            }
        }
        self.job.config = config;
        Ok(())
    }
}

fn read(path: &Path, data: &Path, prepare: Option<Preparation>) -> Result<Arc<Config>, String> {
    let (config, _) = Config::load(path, Some(data)).map_err(|findings| format!("\n{}", render(&findings)))?;
    let config = Arc::new(config);
    if let Some(prepare) = prepare {
        prepare(&config).map_err(|e| e.to_string())?;
    }
    Ok(config)
}
