//! The thread that asks: it takes one order at a time and tells what it finds, as fast as that is taken.

use std::sync::Arc;

use event::Time;
use pipe::Waker;
use sources::jamf::{COMPUTER, inventory};
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, UnboundedSender, channel, unbounded_channel};
use tokio::task::JoinSet;

use crate::conf::{Conf, Keys};
use crate::lines;
use crate::paged::Paged;
use crate::sal::Sal;
use crate::watchman::Watchman;
use remote::http::Trouble;
use remote::jamf::{Jamf, Which};

/// Lines that wait to be taken; each has up to 4 MiB.
const WAITING_MAX: usize = 16;
/// Records asked for at a time; the client has its own bound on requests.
const AT_A_TIME: usize = 5;

/// What is to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// All machines.
    All,
    /// These, by the server's numbers.
    Some(Vec<u64>),
    /// One, by serial number.
    One(String),
}

/// What came of it.
#[derive(Debug)]
pub enum Found {
    /// The raw line of a machine, and its number if that is known.
    Machine(Option<u64>, Vec<u8>),
    /// The server knows no such machine, or it is none.
    Nothing(Option<u64>, String),
    /// The order is carried out, or ended with this.
    Done(Result<(), Trouble>),
    /// The thread has ended, which it never should.
    Gone,
}

/// The thread's other end.
pub struct Worker {
    orders: UnboundedSender<Order>,
    found: Receiver<Found>,
}

impl Worker {
    /// Starts it. `waker` is rung when something was found.
    pub fn start(conf: Conf, waker: Waker) -> Result<Self, String> {
        let server = Server::new(&conf)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        let (orders, taken) = unbounded_channel();
        let (tell, found) = channel(WAITING_MAX);
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|e| format!("no random numbers: {e}"))?;
        let run = format!("pull-{:016x}", u64::from_ne_bytes(random));
        let asking = Asking { conf: conf.into(), server: server.into(), tell, waker, run: run.into() };
        let work = move || runtime.block_on(asking.serve(taken));
        std::thread::Builder::new()
            .name("pull".into())
            .spawn(work)
            .map_err(|e| format!("cannot start a thread: {e}"))?;
        Ok(Self { orders, found })
    }

    /// Hands in an order; the next when this one is done.
    pub fn order(&self, order: Order) {
        // Without the thread `next` says so.
        let _ = self.orders.send(order);
    }

    /// What was found, if something was.
    pub fn next(&mut self) -> Option<Found> {
        use tokio::sync::mpsc::error::TryRecvError::{Disconnected, Empty};
        match self.found.try_recv() {
            Ok(found) => Some(found),
            Err(Empty) => None,
            Err(Disconnected) => Some(Found::Gone),
        }
    }

    /// Whether something was.
    pub fn has_found(&self) -> bool {
        !self.found.is_empty() || self.found.is_closed()
    }
}

/// Who is asked.
enum Server {
    Jamf(Jamf),
    Paged(Paged),
}

impl Server {
    /// Looks secrets up. The error names a variable or a file, never a value.
    fn new(conf: &Conf) -> Result<Self, String> {
        Ok(match &conf.keys {
            Keys::Jamf { id, secret } => Self::Jamf(crate::jamf(conf, id, secret)?),
            Keys::Sal { public, private } => {
                Self::Paged(Paged::Sal(Sal::new(conf, public.resolve()?, private.resolve()?)?))
            }
            Keys::Watchman { key } => Self::Paged(Paged::Watchman(Watchman::new(conf, key.resolve()?)?)),
        })
    }
}

#[derive(Clone)]
struct Asking {
    conf: Arc<Conf>,
    server: Arc<Server>,
    tell: Sender<Found>,
    waker: Waker,
    /// Of this process; takes the place of a request's id.
    run: Arc<str>,
}

impl Asking {
    async fn serve(self, mut orders: UnboundedReceiver<Order>) {
        while let Some(order) = orders.recv().await {
            let done = match &*self.server {
                Server::Jamf(jamf) => self.jamf(jamf, order).await,
                Server::Paged(paged) => self.paged(paged, order).await,
            };
            self.say(Found::Done(done)).await;
        }
    }

    async fn jamf(&self, jamf: &Jamf, order: Order) -> Result<(), Trouble> {
        match order {
            Order::All => self.each(jamf.computers().await?).await,
            Order::Some(ids) => self.each(ids).await,
            Order::One(serial) => self.one(Which::Serial(serial)).await,
        }
    }

    /// One is looked for among all: these servers tell all of each in their list.
    async fn paged(&self, paged: &Paged, order: Order) -> Result<(), Trouble> {
        let wanted = match order {
            Order::All => None,
            Order::One(serial) => Some(serial),
            Order::Some(_) => return Ok(()), // no webhook names one
        };
        let told = std::cell::Cell::new(false);
        paged
            .each(async |record| {
                let (machine, ms) = paged.machine(&self.conf, &record);
                if wanted.is_some() && (machine.serial_number != wanted || told.replace(true)) {
                    return;
                }
                let of = (&*self.conf, sources::pulled::MACHINE, &*self.run);
                let found = match lines::of(of, Time::now(), (&machine, ms), &record) {
                    Ok(line) => Found::Machine(None, line),
                    Err(refusal) => Found::Nothing(None, refusal.text),
                };
                self.say(found).await;
            })
            .await?;
        if wanted.is_some() && !told.get() {
            self.say(Found::Nothing(None, "the server does not know it".into())).await;
        }
        Ok(())
    }

    /// The first trouble ends it: the rest would have the same.
    async fn each(&self, ids: Vec<u64>) -> Result<(), Trouble> {
        let (mut ids, mut under_way) = (ids.into_iter(), JoinSet::new());
        loop {
            while under_way.len() < AT_A_TIME {
                let Some(id) = ids.next() else { break };
                let asking = self.clone();
                under_way.spawn(async move { asking.one(Which::Id(id)).await });
            }
            match under_way.join_next().await {
                None => return Ok(()),
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(trouble))) => return Err(trouble),
                Some(Err(e)) => return Err(Trouble::Other(format!("a request ended: {e}"))),
            }
        }
    }

    async fn one(&self, which: Which) -> Result<(), Trouble> {
        let id = match &which {
            Which::Id(id) => Some(*id),
            Which::Serial(_) | Which::Udid(_) => None,
        };
        let Server::Jamf(jamf) = &*self.server else { return Ok(()) };
        let found = match jamf.computer(&which).await {
            Err(Trouble::Missing) => Found::Nothing(id, "the server does not know it".into()),
            Err(trouble) => return Err(trouble),
            Ok(computer) => {
                let id = id.or_else(|| computer.pointer("/general/id")?.as_u64());
                let told = (&inventory::machine(&computer, &self.conf.units), inventory::taken(&computer));
                let body = serde_json::json!({"url": self.conf.url, "computer": computer});
                match lines::of((&self.conf, COMPUTER, &self.run), Time::now(), told, &body) {
                    Ok(line) => Found::Machine(id, line),
                    Err(refusal) => Found::Nothing(id, refusal.text),
                }
            }
        };
        self.say(found).await;
        Ok(())
    }

    async fn say(&self, found: Found) {
        let _ = self.tell.send(found).await; // nobody listens any more: the process ends
        self.waker.ring();
    }
}
