//! Logs: stderr, each line prefixed with who speaks. stdout is for data.

use std::fmt;
use std::io::IsTerminal as _;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging as `zentral NAME`; a second call changes nothing.
pub fn init(name: &str, level: &str, format: LogFormat, color: Option<bool>) {
    let filter = tracing_subscriber::EnvFilter::builder()
        .parse(format!("{level},hyper=warn,tantivy=warn,reqwest=warn,rustls=warn,lettre=warn"))
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let color = color.unwrap_or_else(|| std::io::stderr().is_terminal());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let _ = match format {
        LogFormat::Json => {
            let builder = builder.json().with_current_span(false).with_target(false);
            builder.map_event_format(|inner| staged(name, inner)).try_init()
        }
        LogFormat::Text => {
            let prefix = if name.is_empty() { "zentral".to_owned() } else { format!("zentral {name}") };
            builder.with_ansi(color).event_format(Prefixed(prefix)).try_init()
        }
    };
}

/// The JSON of `inner` with who speaks in front.
struct Staged<F> {
    /// As JSON.
    stage: String,
    inner: F,
}

fn staged<F>(stage: &str, inner: F) -> Staged<F> {
    Staged { stage: serde_json::Value::from(stage).to_string(), inner }
}

impl<S, N, F> FormatEvent<S, N> for Staged<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut text = String::new();
        self.inner.format_event(ctx, Writer::new(&mut text), event)?;
        write!(to, "{{\"stage\":{},{}", self.stage, text.strip_prefix('{').unwrap_or(&text))
    }
}

struct Prefixed(String);

impl<S, N> FormatEvent<S, N> for Prefixed
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        write!(to, "{}: ", self.0)?;
        let level = match *event.metadata().level() {
            Level::ERROR => "error: ",
            Level::WARN => "warning: ",
            Level::INFO => "",
            Level::DEBUG => "debug: ",
            Level::TRACE => "trace: ",
        };
        match (to.has_ansi_escapes(), *event.metadata().level()) {
            (true, Level::ERROR) => write!(to, "\x1b[31m{level}\x1b[0m")?,
            (true, Level::WARN) => write!(to, "\x1b[33m{level}\x1b[0m")?,
            _ => to.write_str(level)?,
        }
        ctx.field_format().format_fields(to.by_ref(), event)?;
        writeln!(to)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn json_says_who_speaks() {
        let written = Written::default();
        let to = written.clone();
        let builder = tracing_subscriber::fmt().with_writer(move || to.clone()).json();
        let subscriber = builder.map_event_format(|inner| staged("sift", inner)).finish();
        tracing::subscriber::with_default(subscriber, || tracing::warn!(n = 1, "a \"line\""));
        let line: serde_json::Value = serde_json::from_slice(&written.0.lock().unwrap()).unwrap();
        assert_eq!((&line["stage"], &line["level"], &line["fields"]["n"]), (&"sift".into(), &"WARN".into(), &1.into()));
    }
}
