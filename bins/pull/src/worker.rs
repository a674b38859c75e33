//! The thread that asks: it takes one order at a time and tells what it finds, as fast as that is taken.

use std::sync::Arc;

use event::Time;
use pipe::Waker;
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, UnboundedSender, channel, unbounded_channel};
use tokio::task::JoinSet;

use crate::conf::Conf;
use crate::http::Trouble;
use crate::jamf::{Jamf, Which};
use crate::lines;

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
}

/// The thread's other end.
pub struct Worker {
    orders: UnboundedSender<Order>,
    found: Receiver<Found>,
}

impl Worker {
    /// Starts it. `waker` is rung when something was found.
    pub fn start(conf: Conf, waker: Waker) -> Result<Self, String> {
        let jamf = Jamf::new(&conf)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        let (orders, taken) = unbounded_channel();
        let (tell, found) = channel(WAITING_MAX);
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|e| format!("no random numbers: {e}"))?;
        let run = format!("pull-{:016x}", u64::from_ne_bytes(random));
        let asking = Asking { conf: conf.into(), jamf: jamf.into(), tell, waker, run: run.into() };
        let work = move || runtime.block_on(asking.serve(taken));
        std::thread::Builder::new()
            .name("pull".into())
            .spawn(work)
            .map_err(|e| format!("cannot start a thread: {e}"))?;
        Ok(Self { orders, found })
    }

    /// Hands in an order; the next when this one is done.
    pub fn order(&self, order: Order) {
        // Without the thread nothing is found, and `next` says so.
        let _ = self.orders.send(order);
    }

    /// What was found, if something was.
    pub fn next(&mut self) -> Option<Found> {
        use tokio::sync::mpsc::error::TryRecvError::{Disconnected, Empty};
        match self.found.try_recv() {
            Ok(found) => Some(found),
            Err(Empty) => None,
            Err(Disconnected) => Some(Found::Done(Err(Trouble::Other("the thread that asks has ended".into())))),
        }
    }

    /// Whether something was.
    pub fn has_found(&self) -> bool {
        !self.found.is_empty() || self.found.is_closed()
    }
}

#[derive(Clone)]
struct Asking {
    conf: Arc<Conf>,
    jamf: Arc<Jamf>,
    tell: Sender<Found>,
    waker: Waker,
    /// Of this process; takes the place of a request's id.
    run: Arc<str>,
}

impl Asking {
    async fn serve(self, mut orders: UnboundedReceiver<Order>) {
        while let Some(order) = orders.recv().await {
            let done = match order {
                Order::All => match self.jamf.computers().await {
                    Ok(all) => self.each(all).await,
                    Err(trouble) => Err(trouble),
                },
                Order::Some(ids) => self.each(ids).await,
                Order::One(serial) => self.one(Which::Serial(serial)).await,
            };
            self.say(Found::Done(done)).await;
        }
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
            Which::Serial(_) => None,
        };
        let found = match self.jamf.computer(&which).await {
            Err(Trouble::Missing) => Found::Nothing(id, "the server does not know it".into()),
            Err(trouble) => return Err(trouble),
            Ok(computer) => {
                let id = id.or_else(|| computer.pointer("/general/id")?.as_u64());
                match lines::computer(&self.conf, &self.run, Time::now(), &computer) {
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
