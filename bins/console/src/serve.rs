//! Connections: how many, how long, and how they end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
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

use crate::app::App;
use crate::door::Door;

/// Connections at a time; more wait.
const CONNECTIONS_MAX: usize = 256;
/// From the first byte to the end of the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// From the end of an answer, or the beginning, to the end of the next request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// A pause after a connection could not be accepted (out of descriptors, most likely).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What the parser reads at once, at most; a head can't be longer.
const READ_MAX: usize = 64 << 10;
/// Headers of one request.
const HEADERS_MAX: usize = 100;

/// Accepts until stopped, then waits until every request in flight is answered.
pub async fn run(listener: TcpListener, app: Arc<App>, mut stop: Stop) {
    let door = Arc::new(Door::new(app.clone()));
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
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
                let (app, door, stop) = (app.clone(), door.clone(), stop.clone());
                tokio::spawn(async move {
                    let _slot = slot;
                    connection(stream, peer, &app, door, stop).await;
                });
            }
            Err(e) => {
                tracing::warn!("cannot accept a connection: {e}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let most = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
    let _ = slots.acquire_many(most).await;
}

async fn connection(stream: TcpStream, peer: SocketAddr, app: &App, door: Arc<Door>, mut stop: Stop) {
    let _ = stream.set_nodelay(true);
    let Some(tls) = app.live().tls.clone() else { return speak(stream, peer, door, stop).await };
    let shaken = tokio::select! {
        shaken = timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(tls).accept(stream)) => shaken,
        () = stopped(&mut stop) => return,
    };
    match shaken {
        Ok(Ok(stream)) => speak(stream, peer, door, stop).await,
        Ok(Err(e)) => tracing::debug!(%peer, "no TLS handshake: {e}"),
        Err(_) => tracing::debug!(%peer, "the TLS handshake took too long"),
    }
}

async fn speak<S>(stream: S, peer: SocketAddr, door: Arc<Door>, mut stop: Stop)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let door = door.clone();
        async move { Ok::<_, Infallible>(door.answer(peer.ip().to_canonical(), request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(READ_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let done = tokio::select! {
        done = connection.as_mut() => done,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(e) = done {
        tracing::debug!(%peer, "connection: {e}");
    }
}
