//! What holds for all route groups of a listener.

use http::header::HOST;

use crate::access::client_address::Network;
use crate::access::host::Hosts;
use crate::access::sent_by_another_site;
use crate::limits::Limits;
use crate::problem::Problem;
use crate::reply::Transport;
use crate::request::Head;

/// What holds for all route groups.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The bounds of requests.
    pub limits: Limits,
    /// Makes the id of a request that came without a good one: 1 to 128 of `A-Za-z0-9._-`, never the same twice.
    pub new_request_id: fn() -> String,
    /// Origins whose scripts may call route groups that are open to them, as browsers write them: `https://app.example`.
    pub cors_origins: Vec<String>,
    /// Peers whose `X-Forwarded-For` and `Forwarded` are believed.
    pub trusted_proxies: Vec<Network>,
    /// Our own origin, from the public URL.
    pub own_origin: String,
    /// Hosts that are answered to.
    pub hosts: Hosts,
    /// Whether pages of other sites may send requests here; those that may not are refused all of them.
    pub other_sites: bool,
    /// Whether browsers are told that hosts below ours want TLS, too (`includeSubDomains`).
    pub tls_below: bool,
    /// Paths whose every answer says `no-store`, problems included.
    pub no_store: &'static [&'static str],
}

impl Settings {
    /// The contract's bounds, nobody trusted, no other origin.
    #[must_use]
    pub fn new(new_request_id: fn() -> String, own_origin: impl Into<String>) -> Self {
        Self {
            limits: Limits::default(),
            new_request_id,
            cors_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            own_origin: own_origin.into(),
            hosts: Hosts::Any,
            other_sites: true,
            tls_below: false,
            no_store: &["/auth", "/users", "/oauth"],
        }
    }

    /// Of a listener that asks nobody who they are: it answers to IP addresses, `localhost` and these names only, and to no
    /// page of another site.
    #[must_use]
    pub fn for_operations(new_request_id: fn() -> String, names: Vec<String>) -> Self {
        // A list of all clients is one body.
        let limits = Limits { body: 8 * 1024 * 1024, ..Limits::default() };
        Self {
            hosts: Hosts::AddressesAnd(names),
            other_sites: false,
            limits,
            ..Self::new(new_request_id, String::new())
        }
    }

    /// Why a request is refused whatever it asks for.
    pub(crate) fn refuse(&self, head: &Head) -> Option<Problem> {
        if !self.hosts.include(&head.headers) {
            return Some(Problem::misdirected());
        }
        let origin =
            || format!("http://{}", head.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default());
        (!self.other_sites && sent_by_another_site(&head.headers, &origin())).then(Problem::another_site)
    }

    pub(crate) fn transport(&self) -> Transport {
        match (self.own_origin.starts_with("https://"), self.tls_below) {
            (false, _) => Transport::Any,
            (true, false) => Transport::Tls,
            (true, true) => Transport::TlsBelow,
        }
    }

    pub(crate) fn is_private(&self, path: &str) -> bool {
        self.no_store.iter().any(|prefix| is_below(path, prefix))
    }
}

/// Whether `path` is `prefix` or lies below it.
pub(crate) fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
