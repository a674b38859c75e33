//! Tells systemd where this service is, if it asked to be told (`NOTIFY_SOCKET`, sd_notify(3)).

use std::os::unix::net::UnixDatagram;
use std::sync::Once;

/// Sends a state such as `READY=1`; nothing happens where nobody listens.
pub fn tell(state: &str) {
    let Some(address) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let sent = UnixDatagram::unbound().and_then(|socket| match address.to_string_lossy().strip_prefix('@') {
        #[cfg(target_os = "linux")]
        Some(name) => {
            use std::os::linux::net::SocketAddrExt as _;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
            socket.send_to_addr(state.as_bytes(), &address)
        }
        _ => socket.send_to(state.as_bytes(), &address),
    });
    if let Err(e) = sent {
        tracing::warn!("NOTIFY_SOCKET: {e}");
    }
}

/// `STOPPING=1`, once: several parts of a process may hear the order.
pub fn stopping() {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| tell("STOPPING=1"));
}
