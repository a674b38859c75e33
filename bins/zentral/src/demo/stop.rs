//! Ctrl-C and its like: the first ends the show in good order, a second one at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// SIGINT, SIGTERM and SIGHUP as one thing that happens; each of them counts.
pub fn signals() -> Result<watch::Receiver<bool>, String> {
    let (send, receive) = watch::channel(false);
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        let (mut incoming, send) = (signal(kind).map_err(|e| format!("signals: {e}"))?, send.clone());
        tokio::spawn(async move {
            while incoming.recv().await.is_some() {
                let _ = send.send(true);
            }
        });
    }
    Ok(receive)
}

/// Waits for one more.
pub async fn again(stopping: &mut watch::Receiver<bool>) {
    stopping.mark_unchanged();
    if stopping.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
