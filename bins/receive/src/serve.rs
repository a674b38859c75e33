//! Connections: how many, how long, and how they end.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use pipe::listen::{Stop, stopped};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::guard::{Guard, PATIENCE, Turn};
use crate::hub::Hub;
use crate::request::{self, Peer};

/// From the first byte to the end of the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A pause after a connection could not be accepted (out of descriptors, most likely): others close theirs meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What the parser reads at once, at most; a header can't be longer.
const READ_MAX: usize = 64 << 10;
/// Headers of one request.
const HEADERS_MAX: usize = 100;

/// Accepts until stopped, then waits until every request in flight is answered.
pub async fn run(listener: TcpListener, hub: Arc<Hub>, mut stop: Stop) {
    let mut most = hub.limits().connections;
    let slots = Arc::new(Semaphore::new(most));
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        most = resize(&slots, most, hub.limits().connections);
        let slot = tokio::select! {
            slot = slots.clone().acquire_owned() => slot,
            () = stopped(&mut stop) => break,
        };
        let Ok(slot) = slot else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stop) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (hub, stop, count) = (hub.clone(), stop.clone(), Count::up(&open, &hub));
                tokio::spawn(async move {
                    let _held = (slot, count);
                    connection(stream, peer, hub, stop).await;
                });
            }
            Err(e) => {
                hub.meters.closed.with_label_values(&["accept"]).inc();
                hub.complain("cannot accept a connection", &e);
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    while open.load(Ordering::Acquire) > 0 {
        sleep(Duration::from_millis(10)).await;
    }
}

/// After a reload there may be more slots, or, as they come free, fewer.
fn resize(slots: &Arc<Semaphore>, was: usize, wanted: usize) -> usize {
    if wanted >= was {
        slots.add_permits(wanted - was);
        wanted
    } else {
        was - slots.forget_permits(was - wanted)
    }
}

struct Count(Arc<AtomicUsize>, Arc<Hub>);

impl Count {
    fn up(open: &Arc<AtomicUsize>, hub: &Arc<Hub>) -> Self {
        open.fetch_add(1, Ordering::AcqRel);
        hub.meters.connections.inc();
        Self(open.clone(), hub.clone())
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.1.meters.connections.dec();
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, hub: Arc<Hub>, mut stop: Stop) {
    let _ = stream.set_nodelay(true);
    let mut who = Peer { ip: peer.ip().to_canonical(), certified: None };
    let Some(tls) = hub.live().tls.clone() else { return speak(stream, who, hub, stop).await };
    let handshake = timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(tls.config).accept(stream));
    let shaken = tokio::select! {
        shaken = handshake => shaken,
        () = stopped(&mut stop) => return,
    };
    match shaken {
        Ok(Ok(stream)) => {
            // One that is there is of the authority, or there would have been no handshake.
            who.certified = stream.get_ref().1.peer_certificates().map(|_| tls.authority);
            speak(stream, who, hub, stop).await;
        }
        Ok(Err(e)) => {
            hub.meters.closed.with_label_values(&["tls"]).inc();
            tracing::debug!(%peer, "no TLS handshake: {e}");
            if hub.live().conf.proxies.trust(peer.ip().to_canonical()) {
                let what = "no TLS from a trusted proxy (the PROXY protocol is not supported by this version)";
                hub.complain(what, &e);
            }
        }
        Err(_) => hub.meters.closed.with_label_values(&["tls_slow"]).inc(),
    }
}

async fn speak<S>(stream: S, peer: Peer, hub: Arc<Hub>, mut stop: Stop)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let turn = Turn::default();
    let io = TokioIo::new(Guard::new(stream, turn.clone(), PATIENCE));
    let (asked, closed) = (hub.clone(), hub.meters.closed.clone());
    let service = service_fn(move |request| {
        let (hub, turn) = (asked.clone(), turn.take());
        async move {
            let _turn = turn;
            request::serve(&hub, peer, request).await
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // The parser's timeout runs from the end of the last answer; a header that has begun has less (see `guard`).
        .header_read_timeout(hub.limits().idle)
        .max_buf_size(READ_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let done = tokio::select! {
        done = connection.as_mut() => done,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(e) = done {
        let reason = if e.is_parse() {
            "not_http"
        } else if e.is_timeout() {
            "idle"
        } else {
            "broken"
        };
        closed.with_label_values(&[reason]).inc();
    }
}
