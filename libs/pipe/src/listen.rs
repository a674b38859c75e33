//! What every stage with a listener of its own needs: an address, whatever has it now, and where to read which it became.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::StageError;

/// How often a taken address is tried again.
const BIND_EVERY: Duration = Duration::from_secs(1);

/// Whether to stop.
pub type Stop = watch::Receiver<bool>;

/// Waits until it is to stop.
pub async fn stopped(stop: &mut Stop) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Listens on the address; waits while another has it. `None`: stopped while waiting. Any other failure is an error.
pub async fn bind(address: SocketAddr, mut stop: Stop) -> Result<Option<TcpListener>, StageError> {
    let mut said = false;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(Some(listener)),
            Err(e) if matches!(e.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable) => {
                if !std::mem::replace(&mut said, true) {
                    tracing::warn!("cannot listen on {address} yet: {e}; trying again every second");
                }
            }
            Err(e) => return Err(StageError::unreachable(format!("cannot listen on {address}: {e}"))),
        }
        tokio::select! {
            () = sleep(BIND_EVERY) => {}
            () = stopped(&mut stop) => return Ok(None),
        }
    }
}

/// Writes the address that it really listens on, for whoever asked for port 0. The file is there whole or not at all.
pub fn write_address(file: &Path, address: SocketAddr) -> Result<(), StageError> {
    let write = || {
        if let Some(dir) = file.parent() {
            fs::create_dir_all(dir)?;
        }
        let temporary = file.with_extension("addr.tmp");
        fs::write(&temporary, address.to_string())?;
        fs::rename(temporary, file)
    };
    write().map_err(|e: io::Error| StageError::state(format!("{}: {e}", file.display())))
}
