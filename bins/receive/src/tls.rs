//! What connections are accepted with, and the tickets by which agents resume their sessions.

use std::sync::Arc;

use pipe::tls::{Authority, Clients, Files};
use rustls::ServerConfig;
use rustls::server::ProducesTickets;

/// What connections are accepted with.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Versions, certificate and key.
    pub config: Arc<ServerConfig>,
    /// A digest of the authority that clients' certificates are of.
    pub authority: Authority,
}

/// With an authority clients are asked for a certificate; one that shows none is let on, for whether it must is for its
/// enrolment to say. The error names the file.
pub fn config(files: &Files, tickets: Option<Arc<dyn ProducesTickets>>) -> Result<Tls, String> {
    let (mut config, authority) = pipe::tls::config(files, Clients::Asked)?;
    if let Some(tickets) = tickets {
        config.ticketer = Arc::new(Marked { tickets, mark: authority });
    }
    Ok(Tls { config: Arc::new(config), authority })
}

/// Tickets that only open under the authority that they were made under: a session that is resumed shows no certificate,
/// it has the one that it was begun with.
#[derive(Debug)]
struct Marked {
    tickets: Arc<dyn ProducesTickets>,
    mark: Authority,
}

impl ProducesTickets for Marked {
    fn enabled(&self) -> bool {
        self.tickets.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.tickets.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.tickets.encrypt(&[&self.mark, plain].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        Some(self.tickets.decrypt(ticket)?.strip_prefix(&self.mark)?.to_vec())
    }
}
