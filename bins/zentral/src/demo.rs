//! `zentral demo`: the pipeline that ships, in a scratch folder on free ports, with simulated agents on one side and
//! local receivers for its actions on the other. `--once` is a test of the whole: it ends by itself and says whether
//! everything came out as it went in.

mod agent;
pub mod client;
mod follow;
mod hub;
mod inventory;
mod lines;
mod promises;
mod scratch;
mod screen;
mod slack;
mod smtp;
mod stop;
mod verdict;

use std::sync::Arc;
use std::time::{Duration, Instant};

use pipe::Exit;
use pipe::cli::{Global, complain};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::{init, status};
use agent::{Agent, Tally};
use follow::Follower;
use hub::Hub;
use scratch::Scratch;
use screen::{BOLD, DIM, GREEN, RED, Screen};
use slack::Shared;
use verdict::Picture;

/// Command line of `demo`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Stop when everything sent has been stored and acted on; exit 1 if something is missing
    #[arg(long)]
    pub once: bool,
}

/// How long everything may take to be stored and acted on.
const DEADLINE: Duration = Duration::from_secs(120);
/// Between two looks.
const POLL: Duration = Duration::from_millis(250);
/// How long the sums may take to hold: counters of a stage are written with its next commit.
const SUMS_WAIT: Duration = Duration::from_secs(15);

/// Searches that are worth trying.
const SEARCHES: [(&str, Option<&str>); 5] = [
    ("_exists_:probes.name", Some("probes.name")),
    ("probes.severity:critical", None),
    ("machine.unit:workshop AND type:osquery_result", Some("payload.name")),
    ("\"NOPASSWD\" OR HISTFILE", None),
    ("type:osquery_status", None),
];

/// Shows it.
pub fn run(global: &Global, args: &Args) -> Exit {
    global.start_log("demo");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let shown = match runtime {
        Ok(runtime) => {
            let shown = runtime.block_on(show(Screen::new(global.color), args.once));
            runtime.shutdown_background();
            shown
        }
        Err(e) => Err(format!("cannot start threads: {e}")),
    };
    match shown {
        Ok(exit) => exit,
        Err(why) => {
            complain(&format!("zentral demo: {why}"));
            Exit::No
        }
    }
}

async fn show(screen: Screen, once: bool) -> Result<Exit, String> {
    let mut stopping = stop::signals()?;
    let mut stage = Stage::set(&screen).await?;
    let shown = tokio::select! {
        shown = stage.play(&screen, once) => shown,
        _ = stopping.wait_for(|stop| *stop) => Ok(if once { Exit::No } else { Exit::Done }),
    };
    let shown = shown.map_err(|why| format!("{why}\n{}", hub::log_end(&stage.scratch)));
    // A second Ctrl-C while the hub finishes ends it at once.
    let ended = tokio::select! {
        ended = stage.hub.stop() => ended,
        () = stop::again(&mut stopping) => Ok(()),
    };
    drop(stage.follower);
    let exit = shown?;
    ended?;
    if !screen.closed() {
        let path = stage.scratch.path().display().to_string();
        screen.line(&screen.paint(DIM, &format!("the hub has stopped; {path} goes")));
    }
    Ok(exit)
}

/// Everything that takes part.
struct Stage {
    scratch: Scratch,
    hub: Hub,
    follower: Follower,
    tally: Arc<Tally>,
    slack: Shared,
    mail: Shared,
}

impl Stage {
    /// The receivers, the scratch folder, the hub.
    async fn set(screen: &Screen) -> Result<Self, String> {
        let fail = |e: std::io::Error| format!("no free port: {e}");
        let listen = || TcpListener::bind("127.0.0.1:0");
        let (slack_door, mail_door) = (listen().await.map_err(fail)?, listen().await.map_err(fail)?);
        let smtp = mail_door.local_addr().map_err(fail)?.port();
        let scratch = Scratch::make(smtp, scratch::certificates()?)?;
        let (slack, mail) = (Shared::default(), Shared::default());
        let (secret_path, password) = (format!("/services/T0DEMO/B0DEMO/{}", random()?), random()?);
        let url = format!("http://{}{secret_path}", slack_door.local_addr().map_err(fail)?);
        let server = smtp::Server::new(
            &scratch.certificate,
            &scratch.key,
            (scratch::SMTP_USER, &password),
            mail.clone(),
            screen.clone(),
        )?;
        tokio::spawn(server.serve(mail_door));
        tokio::spawn(slack::serve(slack_door, secret_path, slack.clone(), screen.clone()));

        screen.line(&screen.paint(BOLD, "zentral demo: receive → normalize → filter → act, store"));
        screen.line(&format!("pipeline  {} (all of this folder goes with the demo)", scratch.file().display()));
        screen.line(&format!("log       {}", scratch.log().display()));
        let hub = Hub::start(&scratch, &[(scratch::SLACK_URL, &url), (scratch::SMTP_PASSWORD, &password)])?;
        let follower = Follower::start(scratch.config.topic_dir("matches"), screen.clone())?;
        Ok(Self { scratch, hub, follower, tally: Arc::default(), slack, mail })
    }

    async fn play(&mut self, screen: &Screen, once: bool) -> Result<Exit, String> {
        let way = self.hub.ready(&self.scratch).await?;
        screen.line(&format!("agents    https://{} (TLS by an authority of its own)", way.host()));
        screen.line(&format!("metrics   http://{}/metrics", self.scratch.metrics));
        self.hub.console(&self.scratch).await?;
        screen.line(&format!("console   {} (choose a password; you are the admin `demo`)", self.scratch.link()?));
        screen.heading("Agents enrol and send what was there before; these matter to a probe, and somebody is told");
        screen.line(&screen.paint(DIM, "by mail and by slack, which takes a message a second, as the real one does:"));
        let secrets = self.scratch.secrets()?;
        let mut agents = JoinSet::new();
        for mut agent in Agent::fleet(&way, &secrets, &self.tally) {
            agents.spawn(async move { agent.catch_up().await.map(|()| agent) });
        }
        let (mut agents, mut wrong) = self.settle(agents, screen).await?;
        if screen.closed() {
            return Ok(Exit::Done);
        }
        let picture = self.picture()?;
        wrong.extend(picture.too_little());
        wrong.extend(self.sums(screen).await?);
        self.searches(screen);
        screen.heading("What there was");
        screen.line(&picture.summary());
        if wrong.is_empty() {
            let text = "Everything sent is stored once, every match was acted on once, both sums hold.";
            screen.line(&screen.paint(GREEN, text));
        }
        if wrong.is_empty() {
            screen.heading("The three promises, on one of these machines:");
            if let Some(agent) = agents.iter_mut().find(|agent| agent.host() == promises::HOST) {
                wrong.extend(promises::play(agent, self.scratch.path(), screen).await.err());
            }
            wrong.extend(self.told().await?);
        }
        wrong.iter().for_each(|why| screen.line(&screen.paint(RED, why)));
        if once {
            if !wrong.is_empty() {
                return Err(format!("not everything came out as it went in: {}", wrong.join("; ")));
            }
            return Ok(Exit::Done);
        }
        screen.heading("It goes on until Ctrl-C; each agent sends a few lines every few seconds:");
        self.go_on(agents, screen).await.map(|()| Exit::Done)
    }

    /// Waits until all is stored and acted on. The agents come back, and what went wrong.
    async fn settle(
        &mut self,
        mut sending: JoinSet<Result<Agent, String>>,
        screen: &Screen,
    ) -> Result<(Vec<Agent>, Vec<String>), String> {
        let (begun, expected, mut agents) = (Instant::now(), Agent::matches_expected(), Vec::new());
        let mut before: Option<Picture> = None;
        loop {
            self.hub.runs()?;
            while let Some(ended) = sending.try_join_next() {
                agents.push(ended.map_err(|e| format!("an agent ended: {e}"))??);
            }
            let picture = self.picture();
            let at_rest = |p: &Picture| sending.is_empty() && p.missing(expected).is_empty();
            match picture {
                // Twice the same: whatever was on its way has arrived, too much as well as enough.
                Ok(picture) if at_rest(&picture) && before.as_ref() == Some(&picture) => {
                    return Ok((agents, picture.faults(expected)));
                }
                Ok(picture) if begun.elapsed() > DEADLINE => {
                    let mut wrong = picture.missing(expected);
                    wrong.extend(picture.faults(expected));
                    if !sending.is_empty() {
                        wrong.push(format!("{} agents have not sent everything", sending.len()));
                    }
                    wrong.push(format!("stopped waiting after {} s", DEADLINE.as_secs()));
                    return Ok((agents, wrong));
                }
                Err(why) if begun.elapsed() > DEADLINE => return Err(why),
                picture => before = picture.ok(),
            }
            if screen.closed() {
                return Ok((agents, Vec::new()));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn picture(&self) -> Result<Picture, String> {
        let mut picture = self.follower.with(|matches| {
            slack::with(&self.slack, |slack| {
                slack::with(&self.mail, |mail| Picture::of(&self.tally, matches, slack, mail))
            })
        });
        picture.stored = hub::count(&self.scratch, "type:(osquery_result OR osquery_status)", None)?.count;
        picture.ledger = hub::ledger(&self.scratch)?;
        picture.restarts = hub::restarts(&self.scratch)?;
        Ok(picture)
    }

    /// Waits until whoever was to be told has been told; what went wrong.
    async fn told(&mut self) -> Result<Vec<String>, String> {
        let (begun, mut before) = (Instant::now(), None);
        loop {
            self.hub.runs()?;
            let ledger = hub::ledger(&self.scratch)?;
            // Twice the same: nothing more is on its way.
            if ledger.open == 0 && before == Some(ledger) {
                let lost = (ledger.lost > 0).then(|| format!("{} deliveries are dead, stale or dropped", ledger.lost));
                return Ok(lost.into_iter().collect());
            }
            if begun.elapsed() > DEADLINE {
                return Ok(vec![format!("{} deliveries are not done", ledger.open)]);
            }
            before = Some(ledger);
            tokio::time::sleep(POLL).await;
        }
    }

    /// Shows both sums once they hold; what is off comes back.
    async fn sums(&mut self, screen: &Screen) -> Result<Vec<String>, String> {
        let begun = Instant::now();
        let sums = loop {
            let sums = status::sums(&self.scratch.config).map_err(|e| e.text)?;
            if (sums.ok() && sums.lag() == 0) || begun.elapsed() > SUMS_WAIT {
                break sums;
            }
            tokio::time::sleep(POLL).await;
        };
        screen.heading("The two sums (`zentral status`)");
        status::report::for_people(&sums).lines().for_each(|line| screen.line(line));
        let mut off = sums.off();
        if sums.refused() > 0 {
            off.push(format!("{} lines were refused", sums.refused()));
        }
        Ok(off)
    }

    fn searches(&self, screen: &Screen) {
        screen.heading("Searches to try while it runs");
        let config = init::quoted(&self.scratch.file().to_string_lossy());
        for (query, by) in SEARCHES {
            let found = match hub::count(&self.scratch, query, None) {
                Ok(counts) => format!("{} events", counts.count),
                Err(why) => why,
            };
            let by = by.map(|field| format!(" --count-by {field}")).unwrap_or_default();
            let command = format!("zentral -c {config} search {}{by}", init::quoted(query));
            screen.line(&format!("{command}  {}", screen.paint(DIM, &format!("# {found}"))));
        }
        screen.line(&format!("zentral -c {config} cat matches -f"));
        let console = console::address(&self.scratch.config);
        screen.line(&format!(
            "{console}/  {}",
            screen.paint(DIM, "# the console; the first time by the link at the top")
        ));
    }

    /// The agents go on, and this process watches. Ends when nobody reads any more; a signal ends it from outside.
    async fn go_on(&mut self, agents: Vec<Agent>, screen: &Screen) -> Result<(), String> {
        let mut running = JoinSet::new();
        for mut agent in agents {
            running.spawn(async move { agent.go_on().await });
        }
        while !screen.closed() {
            tokio::time::sleep(POLL).await;
            self.hub.runs()?;
            if let Some(Ok(Err(why))) = running.try_join_next() {
                screen.line(&screen.paint(RED, &why));
            }
        }
        Ok(())
    }
}

/// 32 hex digits that nobody can guess.
fn random() -> Result<String, String> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).map_err(|e| format!("no random numbers: {e}"))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}
