//! The memory that bodies and lines of all requests may take: what every request has, one store for what is more, and
//! a share of it for each client, so that nobody alone can empty it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Bytes that every request may hold; what is more comes out of the store.
pub const FREE: usize = 64 << 10;
/// Bytes of the store.
pub const STORE: usize = 256 << 20;
/// Bytes of it that one client may hold, and so the longest body that comes over the wire.
pub const SHARE: usize = STORE / 4;
/// How long a request waits for room.
const ROOM_TIMEOUT: Duration = Duration::from_secs(2);
/// The bits of an IPv6 address that tell one client from another: whoever has one address has all of its network.
const IPV6_CLIENT: u32 = 64;

/// What is shared.
#[derive(Debug)]
pub struct Store {
    all: Arc<Semaphore>,
    share: usize,
    /// The clients that hold something; a permit is a KiB.
    clients: Mutex<HashMap<IpAddr, Arc<Semaphore>>>,
}

/// There is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl Store {
    /// A store of so many bytes, of which one client may hold so many.
    pub fn new(bytes: usize, share: usize) -> Arc<Self> {
        Self { all: Semaphore::new(bytes / 1024).into(), share: share / 1024, clients: Mutex::default() }.into()
    }

    /// What a request of this client will hold; nothing yet.
    pub fn held(self: &Arc<Self>, client: IpAddr) -> Held {
        Held { store: self.clone(), client: network(client), bytes: 0, permits: None }
    }

    /// KiB that nobody holds.
    #[cfg(test)]
    pub fn left(&self) -> usize {
        self.all.available_permits()
    }

    fn client(&self, client: IpAddr) -> Arc<Semaphore> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.entry(client).or_insert_with(|| Semaphore::new(self.share).into()).clone()
    }

    /// Forgets a client that holds nothing any more.
    fn forget(&self, client: IpAddr, permits: Option<Permits>) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        drop(permits);
        if clients.get(&client).is_some_and(|share| Arc::strong_count(share) == 1) {
            clients.remove(&client);
        }
    }
}

fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> IPV6_CLIENT << IPV6_CLIENT).into(),
        v4 => v4,
    }
}

/// Of the client's share, and of all.
type Permits = (OwnedSemaphorePermit, OwnedSemaphorePermit);

/// What one request holds, given back when it is dropped.
#[derive(Debug)]
pub struct Held {
    store: Arc<Store>,
    client: IpAddr,
    bytes: usize,
    permits: Option<Permits>,
}

impl Held {
    /// Takes so many bytes more, waiting a little for room.
    pub async fn take(&mut self, bytes: usize) -> Result<(), Full> {
        let kib = self.needed(bytes);
        if kib > 0 {
            let (share, all) = (self.store.client(self.client), self.store.all.clone());
            let both = async {
                let share = share.acquire_many_owned(kib).await.ok()?;
                Some((share, all.acquire_many_owned(kib).await.ok()?))
            };
            let Ok(Some(permits)) = timeout(ROOM_TIMEOUT, both).await else { return Err(Full) };
            self.keep(permits);
        }
        self.bytes += bytes;
        Ok(())
    }

    /// Takes so many bytes more, if there is room now.
    pub fn try_take(&mut self, bytes: usize) -> Result<(), Full> {
        let kib = self.needed(bytes);
        if kib > 0 {
            let share = self.store.client(self.client).try_acquire_many_owned(kib).map_err(|_| Full)?;
            let all = self.store.all.clone().try_acquire_many_owned(kib).map_err(|_| Full)?;
            self.keep((share, all));
        }
        self.bytes += bytes;
        Ok(())
    }

    fn needed(&self, more: usize) -> u32 {
        let kib = |bytes: usize| u32::try_from(bytes.saturating_sub(FREE).div_ceil(1024)).unwrap_or(u32::MAX);
        kib(self.bytes.saturating_add(more)).saturating_sub(kib(self.bytes))
    }

    fn keep(&mut self, (share, all): Permits) {
        match &mut self.permits {
            Some(permits) => {
                permits.0.merge(share);
                permits.1.merge(all);
            }
            None => self.permits = Some((share, all)),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.store.forget(self.client, self.permits.take());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn store() -> Arc<Store> {
        Store::new(16 << 10, 8 << 10)
    }

    #[tokio::test]
    async fn what_is_more_than_all_have_is_taken_and_given_back() {
        let store = store();
        let mut held = store.held([192, 0, 2, 1].into());
        held.take(FREE).await.unwrap();
        assert_eq!(store.left(), 16);
        for left in [15, 14, 13] {
            held.try_take(1000).unwrap();
            assert_eq!(store.left(), left);
        }
        drop(held);
        assert_eq!(store.left(), 16);
        assert!(store.clients.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn nobody_alone_empties_it() {
        let store = store();
        let mut greedy = [1, 2].map(|n| store.held(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n).into()));
        for held in &mut greedy {
            held.take(FREE + (4 << 10)).await.unwrap();
        }
        assert_eq!(greedy.each_mut().map(|held| held.try_take(1)), [Err(Full); 2], "one network is one client");
        let mut others = ["192.0.2.1", "2001:db8:0:1::1"].map(|address| store.held(address.parse().unwrap()));
        others[0].take(FREE + (8 << 10)).await.unwrap();
        assert_eq!(others[1].try_take(FREE + 1), Err(Full), "nothing is left");
        let [one, two] = greedy;
        drop(one);
        others[1].take(FREE + (4 << 10)).await.unwrap();
        drop(two);
        assert_eq!((store.left(), store.clients.lock().unwrap().len()), (4, 2));
    }
}
