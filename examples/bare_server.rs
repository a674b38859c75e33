//! For `scripts/bench`: the least that a durable receiver must do, as the yardstick for `receive`.
//!
//! TLS, inflate, cut into records, one line a record behind an envelope as long as ours, append, one fdatasync for all
//! requests that wait, then 200. No keys, ids, limits, metrics, and no bad input: whatever is wrong is a 400.
//! `bare_server ADDRESS CERT KEY FILE`; with `-` in place of FILE it reads bodies and answers, no more.
#![allow(clippy::expect_used, clippy::panic, reason = "a tool for measuring")]

use std::convert::Infallible;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

/// As `receive` writes it, ids and times of the same length.
const BEFORE: &[u8] = br#"{"v":1,"id":"01a1ff7a-cbfb-8000-8000-000000000000","source":"osquery","kind":"result","received":"2026-11-21T19:00:03.001Z","machine":{"serial_number":"BENCH0000001","hardware_uuid":"4C4C4544-0031-4A10-8052-B5C04F4E3132","hostname":"bench-1","platform":"linux","os_version":"12","unit":"default"},"request":{"ip":"127.0.0.1","user_agent":"osquery/5.23.0"},"body":"#;

/// Lines, and who waits for them.
type Order = (Vec<u8>, oneshot::Sender<()>);

#[derive(Deserialize)]
struct Log<'a> {
    #[serde(borrow, alias = "events")]
    data: Vec<&'a RawValue>,
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let [_, address, cert, key, file] = words.as_slice() else { panic!("bare_server ADDRESS CERT KEY FILE") };
    let (orders, waiting) = sync_channel(4096);
    let orders = (file != "-").then_some(orders);
    if orders.is_some() {
        let file = File::create(file).expect("the output");
        std::thread::spawn(move || append(file, &waiting));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(serve(address, tls(cert, key), orders));
}

fn tls(cert: &str, key: &str) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(cert).expect("the certificate").collect::<Result<_, _>>().expect("PEM");
    let key = PrivateKeyDer::from_pem_file(key).expect("the key");
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("key and certificate belong together");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(address: &str, tls: TlsAcceptor, orders: Option<SyncSender<Order>>) {
    let listener = TcpListener::bind(address).await.expect("the address");
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let (tls, orders) = (tls.clone(), orders.clone());
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let Ok(stream) = tls.accept(stream).await else { return };
            let answer = service_fn(move |request| answer(request, orders.clone()));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    orders: Option<SyncSender<Order>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let encoding = request.headers().get("content-encoding").cloned();
    let status = match request.into_body().collect().await {
        Ok(body) => match (orders, body.to_bytes()) {
            (None, _) => StatusCode::OK,
            (Some(orders), body) => match lines(&body, encoding.as_ref().map_or(b"", |name| name.as_bytes())) {
                Some(lines) => {
                    let (done, wait) = oneshot::channel();
                    // 64 connections never fill it.
                    let taken = orders.try_send((lines, done)).is_ok() && wait.await.is_ok();
                    if taken { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
                }
                None => StatusCode::BAD_REQUEST,
            },
        },
        Err(_) => StatusCode::BAD_REQUEST,
    };
    let reply = Response::builder().status(status).header("content-type", "application/json");
    Ok(reply.body(Full::from("{}")).expect("a reply"))
}

fn lines(body: &[u8], encoding: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(if encoding.is_empty() { 0 } else { body.len() * 6 });
    let text = match encoding {
        b"gzip" => flate2::read::MultiGzDecoder::new(body).read_to_end(&mut plain).map(|_| plain.as_slice()).ok()?,
        b"deflate" => flate2::read::ZlibDecoder::new(body).read_to_end(&mut plain).map(|_| plain.as_slice()).ok()?,
        _ => body,
    };
    let log: Log<'_> = serde_json::from_slice(text).ok()?;
    let mut out = Vec::with_capacity(text.len() + log.data.len() * (BEFORE.len() + 2));
    for record in log.data {
        out.extend_from_slice(BEFORE);
        out.extend_from_slice(record.get().as_bytes());
        out.extend_from_slice(b"}\n");
    }
    Some(out)
}

/// Appends all that waits, syncs once, and tells everybody.
fn append(mut file: File, waiting: &Receiver<Order>) {
    let mut told = Vec::new();
    while let Ok((mut lines, done)) = waiting.recv() {
        told.push(done);
        for (more, done) in waiting.try_iter() {
            lines.extend_from_slice(&more);
            told.push(done);
        }
        file.write_all(&lines).expect("room");
        file.sync_data().expect("a sync");
        for done in told.drain(..) {
            let _ = done.send(());
        }
    }
}
