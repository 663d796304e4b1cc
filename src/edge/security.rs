//! Security: checks a request's `Host` and `Origin` against the names and sites this server allows.
//!
//! 1. The host is the `Host` header, the host of the request target, or what a trusted proxy
//!    reports. If both header and target name a host, the two must be equal. A missing, repeated or
//!    unreadable host is a bad request (RFC 9112, section 3.2). A host that is not allowed is
//!    rejected with 403.
//! 2. An origin is allowed if it is listed, is on a loopback name, or is the server's own. Any
//!    other origin, an unreadable one and `null` are rejected with 403 (MCP, Transports, "Security
//!    Warning").
//! 3. Entries are parsed when they are set. A check allocates nothing.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::ConnectInfo;
use http::Version;
use http::request::Parts;
use ipnet::IpNet;

use super::authority::{Authority, HostPattern};
use super::client;
use super::forwarded::{self, Named};
use super::headers::{Found, Head};
use super::origin::{Origin, OriginPattern};
use crate::error::{ConfigError, Rejection};
use crate::identity::Peer;
use crate::message::shown_bytes;
use crate::throttle::Throttle;

const HOSTS: &str = "Security::allowed_hosts";
const ORIGINS: &str = "Security::allowed_origins";
const PROXIES: &str = "Security::trusted_proxies";

/// The hosts that this server answers to, and the web sites that may call it.
///
/// By default, only programs on the same machine can use the server. The `Host` must be a loopback
/// name (`localhost`, any address of 127.0.0.0/8, `[::1]`), with any port. A request with an
/// `Origin` comes from a web page, and that must be on a loopback name too. This prevents web sites
/// that the user visits from reaching the server by DNS rebinding. Programs need not send an
/// `Origin`.
///
/// A server that other machines reach needs its public name:
///
/// ```
/// use mcp_http::Security;
///
/// let security = Security::new()
///     .allowed_hosts(["mcp.example.com", "*.internal.example:8080"])
///     .allowed_origins(["https://app.example.com"])
///     .trusted_proxies(["10.0.0.0/8"]);
/// # let _ = security;
/// ```
///
/// # Origins that are allowed without being listed
///
/// - Origins on loopback names, unless [`allowed_origins`](Self::allowed_origins) is set.
/// - The server's own origin: `http` or `https` with exactly the host and port of the request's
///   `Host`. The `Host` has been checked before, so DNS rebinding gains nothing. With
///   [`insecure_any_host`](Self::insecure_any_host) it would, so this rule does not apply then.
///
/// `Origin: null` (a sandboxed frame, a local file) identifies no site, and is rejected.
///
/// This is not CORS: browsers also need the headers of a CORS layer around the service.
#[derive(Debug, Clone, Default)]
pub struct Security {
    loopback: Option<bool>,
    hosts: Allowed<HostPattern>,
    origins: Allowed<OriginPattern>,
    proxies: Vec<IpNet>,
    problems: Vec<ConfigError>,
    /// Shared by all clones.
    lines: Arc<Lines>,
    /// The operator was warned that proxies cannot be recognized.
    warned: Arc<AtomicBool>,
}

/// The throttles of the log, one for each kind of line.
#[derive(Debug, Default)]
struct Lines {
    unreadable_host: Throttle,
    other_host: Throttle,
    other_site: Throttle,
    forwarding: Throttle,
}

#[derive(Debug, Clone, Default)]
enum Allowed<P> {
    /// Only loopback names.
    #[default]
    Unset,
    Only(Vec<P>),
    Anything,
}

impl<P> Allowed<P> {
    /// Parses a list of patterns.
    fn only<T: AsRef<str>>(
        setting: &'static str,
        entries: impl IntoIterator<Item = T>,
        parse: impl Fn(&str) -> Result<P, &'static str>,
        problems: &mut Vec<ConfigError>,
    ) -> Self {
        let mut patterns = Vec::new();
        for entry in entries {
            let entry = entry.as_ref();
            match parse(entry) {
                Ok(pattern) => patterns.push(pattern),
                Err(why) => problems.push(ConfigError::new(setting, format!("`{entry}` {why}"))),
            }
        }
        Self::Only(patterns)
    }

    fn listed(&self) -> &[P] {
        match self {
            Self::Only(patterns) => patterns,
            Self::Unset | Self::Anything => &[],
        }
    }
}

impl Security {
    /// Allows loopback names only.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the hosts that this server answers to. They replace the loopback names (see
    /// [`allow_loopback`](Self::allow_loopback)).
    ///
    /// | entry | means |
    /// |---|---|
    /// | `example.com`, `192.0.2.1`, `[2001:db8::1]` | that host, with any port or none |
    /// | `example.com:*` | the same |
    /// | `example.com:8080` | that host with that port; for 80 and 443, also without a port |
    /// | `*.example.com` | every subdomain at any depth, but not `example.com` itself |
    ///
    /// Case does not matter. International names are written in punycode. An empty list allows no
    /// host.
    ///
    /// An entry of any other form is an error of [`build`](crate::McpServiceBuilder::build).
    #[must_use]
    pub fn allowed_hosts<T: AsRef<str>>(mut self, hosts: impl IntoIterator<Item = T>) -> Self {
        let problems = self.problems_but_of(HOSTS);
        self.hosts = Allowed::only(HOSTS, hosts, HostPattern::parse, problems);
        self
    }

    /// Sets the web sites that may call this server. They replace those on loopback names (see
    /// [`allow_loopback`](Self::allow_loopback)).
    ///
    /// An entry is `scheme://host`, `scheme://host:port` or `scheme://host:*`, as a browser sends
    /// it. Without a port it means the default port of `http` or `https`. Nothing may follow, not
    /// even a slash. The host may begin with `*.` as in [`allowed_hosts`](Self::allowed_hosts).
    ///
    /// An entry that is not an origin is an error of [`build`](crate::McpServiceBuilder::build).
    #[must_use]
    pub fn allowed_origins<T: AsRef<str>>(mut self, origins: impl IntoIterator<Item = T>) -> Self {
        let problems = self.problems_but_of(ORIGINS);
        self.origins = Allowed::only(ORIGINS, origins, OriginPattern::parse, problems);
        self
    }

    /// Sets whether loopback names are allowed, as hosts and as origins, in addition to the listed
    /// ones.
    ///
    /// Default: they are allowed as hosts unless [`allowed_hosts`](Self::allowed_hosts) is set, and
    /// as origins unless [`allowed_origins`](Self::allowed_origins) is set.
    #[must_use]
    pub fn allow_loopback(mut self, allowed: bool) -> Self {
        self.loopback = Some(allowed);
        self
    }

    /// Sets the proxies in front of this server, as networks (`10.0.0.0/8`) or single addresses.
    ///
    /// For a connection from one of them, the host is the one in `X-Forwarded-Host` or in the
    /// `host` parameter of `Forwarded`. `Host` is used only if these name none. If they name
    /// several hosts, in one header or in both, the request is rejected. For all other connections
    /// the two headers are ignored.
    ///
    /// The client's address is determined in the same way. It is the rightmost address in
    /// `X-Forwarded-For`, or in the `for` parameters of `Forwarded`, that is not a trusted proxy.
    /// It selects the share of the limits
    /// ([`Sessions::max_sessions_per_peer`](crate::Sessions::max_sessions_per_peer)). If the header cannot be read,
    /// the request counts in the proxy's own share.
    ///
    /// If the two headers name different clients, a request without a principal is rejected (400).
    /// A proxy that sets only one of the two forwards the other as the client wrote it, and the
    /// client may have made it up.
    ///
    /// The connection's address comes from axum's `ConnectInfo<SocketAddr>`. Serve the application
    /// with `into_make_service_with_connect_info::<SocketAddr>()`, or no proxy is recognized. The
    /// first request without it is logged as a warning.
    ///
    /// An entry that is neither a network nor an address is an error of
    /// [`build`](crate::McpServiceBuilder::build).
    #[must_use]
    pub fn trusted_proxies<T: AsRef<str>>(mut self, proxies: impl IntoIterator<Item = T>) -> Self {
        let problems = self.problems_but_of(PROXIES);
        let mut networks = Vec::new();
        for entry in proxies {
            let entry = entry.as_ref();
            match entry.parse::<IpNet>().or_else(|_| entry.parse::<IpAddr>().map(IpNet::from)) {
                Ok(network) => networks.push(network),
                Err(_) => {
                    let why = format!("`{entry}` is no network and no IP address");
                    problems.push(ConfigError::new(PROXIES, why));
                }
            }
        }
        self.proxies = networks;
        self
    }

    /// Returns the list for the problems of a setting that is being set again. Its earlier problems
    /// are removed.
    fn problems_but_of(&mut self, setting: &'static str) -> &mut Vec<ConfigError> {
        self.problems.retain(|problem| problem.setting() != setting);
        &mut self.problems
    }

    /// Returns an error for every entry that could not be parsed.
    pub(crate) fn problems(&self) -> impl Iterator<Item = &ConfigError> {
        self.problems.iter()
    }

    /// Disables the check of the host.
    ///
    /// This is safe if a component in front of the server has checked the host, or if no browser
    /// can reach the server. In all other cases a web page can call the server through DNS
    /// rebinding.
    #[must_use]
    pub fn insecure_any_host(mut self) -> Self {
        self.hosts = Allowed::Anything;
        self
    }

    /// Disables the check of the origin.
    ///
    /// Any web page that the user opens can then call the server. Such requests carry everything
    /// the browser adds: cookies, a client certificate, and the user's position in the network.
    #[must_use]
    pub fn insecure_any_origin(mut self) -> Self {
        self.origins = Allowed::Anything;
        self
    }

    /// Checks the host, then the origin.
    pub(super) fn check(&self, parts: &Parts, head: &Head<'_>) -> Result<(), Rejection> {
        let site = match self.hosts {
            Allowed::Anything => None,
            Allowed::Unset | Allowed::Only(_) => Some(self.check_host(parts, head)?),
        };
        self.check_origin(head.origin, site.as_ref())
    }

    fn check_host<'a>(&self, parts: &'a Parts, head: &Head<'a>) -> Result<Authority<'a>, Rejection> {
        let named = self.named_host(parts, head)?;
        let Some(authority) = Authority::parse(named.text) else {
            if let Some(left_out) = self.lines.unreadable_host.line() {
                tracing::warn!(
                    host = %shown_bytes(named.text),
                    by = named.by,
                    left_out,
                    "rejected a request whose host cannot be read"
                );
            }
            return Err(Rejection::InvalidHeader(named.by));
        };
        let loopback = self.loopback.unwrap_or(matches!(self.hosts, Allowed::Unset));
        if (loopback && authority.host.is_loopback()) || self.hosts.listed().iter().any(|it| it.matches(&authority)) {
            return Ok(authority);
        }
        if let Some(left_out) = self.lines.other_host.line() {
            tracing::warn!(
                host = %shown_bytes(named.text),
                by = named.by,
                peer = ?peer(parts),
                left_out,
                "rejected a request for another host; `Security::allowed_hosts` would allow it"
            );
        }
        Err(Rejection::HostNotAllowed)
    }

    fn check_origin(&self, found: Found<'_>, site: Option<&Authority<'_>>) -> Result<(), Rejection> {
        let Some(value) = found.first() else { return Ok(()) };
        if matches!(self.origins, Allowed::Anything) {
            return Ok(());
        }
        // An unreadable or repeated origin is invalid, and the specification has one status for
        // that: 403.
        let origin = if let Found::Often(_) = found { None } else { Origin::parse(value.as_bytes()) };
        let loopback = self.loopback.unwrap_or(matches!(self.origins, Allowed::Unset));
        let allowed = origin.is_some_and(|origin| {
            (loopback && origin.is_loopback())
                || site.is_some_and(|site| origin.is_of(site))
                || self.origins.listed().iter().any(|pattern| pattern.matches(&origin))
        });
        if allowed {
            return Ok(());
        }
        if let Some(left_out) = self.lines.other_site.line() {
            tracing::warn!(
                origin = %shown_bytes(value.as_bytes()),
                left_out,
                "rejected a request of another site; `Security::allowed_origins` would allow it"
            );
        }
        Err(Rejection::OriginNotAllowed)
    }

    fn named_host<'a>(&self, parts: &'a Parts, head: &Head<'a>) -> Result<Named<'a>, Rejection> {
        if self.is_from_proxy(parts) {
            let forwarded = forwarded::host(&parts.headers).inspect_err(|_| {
                if let Some(left_out) = self.lines.forwarding.line() {
                    tracing::warn!(
                        left_out,
                        "rejected a request of a trusted proxy whose forwarding headers disagree or cannot be read"
                    );
                }
            })?;
            if let Some(named) = forwarded {
                return Ok(named);
            }
        }
        direct_host(parts, head.host).map(|text| Named { text, by: "Host" })
    }

    /// Returns the peer in whose share a request without a principal counts; `None` if the
    /// connection's address is unknown.
    pub(crate) fn peer(&self, parts: &Parts) -> Result<Option<Peer>, Rejection> {
        let Some(address) = peer(parts).map(|peer| peer.ip().to_canonical()) else { return Ok(None) };
        if !self.is_proxy(&address) {
            return Ok(Some(Peer::new(address)));
        }
        let client = client::address(&parts.headers, address, |hop| self.is_proxy(hop));
        client.map(|client| Some(Peer::new(client)))
    }

    fn is_from_proxy(&self, parts: &Parts) -> bool {
        if self.proxies.is_empty() {
            return false;
        }
        let address = peer(parts);
        if address.is_none() && !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "`Security::trusted_proxies` is without effect: a request carries no `ConnectInfo<SocketAddr>`; serve the \
                 application with `into_make_service_with_connect_info::<SocketAddr>()`"
            );
        }
        // A dual-stack socket reports IPv4 peers as mapped IPv6 addresses.
        address.is_some_and(|address| self.is_proxy(&address.ip().to_canonical()))
    }

    fn is_proxy(&self, address: &IpAddr) -> bool {
        self.proxies.iter().any(|network| network.contains(address))
    }
}

/// Returns the address of the connection, if the application was served with `ConnectInfo`.
fn peer(parts: &Parts) -> Option<SocketAddr> {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer)
}

/// Returns the host that the request itself names. If both the request target and the header name a
/// host, the two must be equal (RFC 9113, section 8.3.1). From HTTP/2 on the target alone is
/// enough.
fn direct_host<'a>(parts: &'a Parts, found: Found<'a>) -> Result<&'a [u8], Rejection> {
    let header = found.once("Host")?.map(|value| value.as_bytes());
    let target = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    match (header, target) {
        (Some(header), Some(target)) if !header.eq_ignore_ascii_case(target) => Err(Rejection::InvalidHeader("Host")),
        (Some(header), _) => Ok(header),
        (None, Some(target)) if parts.version >= Version::HTTP_2 => Ok(target),
        (None, _) => Err(Rejection::InvalidHeader("Host")),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::*;

    type Headers<'a> = &'a [(&'static str, &'a str)];

    fn head(headers: Headers<'_>) -> Parts {
        let request =
            headers.iter().fold(Request::post("/mcp"), |request, (name, value)| request.header(*name, *value));
        request.body(()).unwrap().into_parts().0
    }

    fn from_peer(peer: &str, headers: Headers<'_>) -> Parts {
        let mut parts = head(headers);
        parts.extensions.insert(ConnectInfo(peer.parse::<SocketAddr>().unwrap()));
        parts
    }

    fn check(security: &Security, parts: &Parts) -> Result<(), Rejection> {
        security.check(parts, &Head::read(&parts.headers))
    }

    #[track_caller]
    fn assert_rows(security: &Security, rows: &[(Headers<'_>, Result<(), Rejection>)]) {
        for (headers, expected) in rows {
            assert_eq!(check(security, &head(headers)), *expected, "{headers:?}");
        }
    }

    const NO_HOST: Result<(), Rejection> = Err(Rejection::HostNotAllowed);
    const NO_ORIGIN: Result<(), Rejection> = Err(Rejection::OriginNotAllowed);
    const BAD_HOST: Result<(), Rejection> = Err(Rejection::InvalidHeader("Host"));

    #[test]
    fn by_default_only_loopback_hosts_are_served() {
        assert_rows(
            &Security::new(),
            &[
                // Loopback names, any port.
                (&[("host", "localhost")], Ok(())),
                (&[("host", "LocalHost:3000")], Ok(())),
                (&[("host", "127.0.0.1:3000")], Ok(())),
                (&[("host", "127.8.9.10")], Ok(())),
                (&[("host", "[::1]:3000")], Ok(())),
                // Other names.
                (&[("host", "evil.example.com")], NO_HOST),
                (&[("host", "0.0.0.0:3000")], NO_HOST),
                (&[("host", "128.0.0.1")], NO_HOST),
                (&[("host", "[::ffff:127.0.0.1]")], NO_HOST),
                (&[("host", "localhost.evil.example")], NO_HOST),
                (&[("host", "127.0.0.1.nip.io")], NO_HOST),
                // Missing, repeated, and values that no browser sends.
                (&[], BAD_HOST),
                (&[("host", "")], BAD_HOST),
                (&[("host", "localhost"), ("host", "localhost")], Err(Rejection::DuplicateHeader("Host"))),
                (&[("host", "127.0.0.1@evil.example")], BAD_HOST),
                (&[("host", "localhost.")], Ok(())),
                (&[("host", "127.1")], BAD_HOST),
                (&[("host", "0x7f.1")], BAD_HOST),
                (&[("host", "localhost:99999")], BAD_HOST),
                // The headers of untrusted proxies are ignored.
                (&[("host", "evil.example"), ("x-forwarded-host", "localhost")], NO_HOST),
                (&[("host", "localhost"), ("x-forwarded-host", "evil.example")], Ok(())),
                // The host is checked before the origin.
                (&[("host", "evil.example"), ("origin", "http://evil.example")], NO_HOST),
            ],
        );
    }

    #[test]
    fn by_default_only_loopback_origins_are_served() {
        let local = ("host", "127.0.0.1:3000");
        assert_rows(
            &Security::new(),
            &[
                (&[local], Ok(())),
                (&[local, ("origin", "http://127.0.0.1:3000")], Ok(())),
                (&[local, ("origin", "http://localhost:5173")], Ok(())),
                (&[local, ("origin", "https://[::1]")], Ok(())),
                // Other sites, and values that are not sites.
                (&[local, ("origin", "https://evil.example")], NO_ORIGIN),
                (&[local, ("origin", "http://localhost.evil.example")], NO_ORIGIN),
                (&[local, ("origin", "chrome-extension://localhost")], NO_ORIGIN),
                (&[local, ("origin", "null")], NO_ORIGIN),
                (&[local, ("origin", "")], NO_ORIGIN),
                (&[local, ("origin", "*")], NO_ORIGIN),
                (&[local, ("origin", "http://localhost/")], NO_ORIGIN),
                (&[local, ("origin", "http://localhost http://evil.example")], NO_ORIGIN),
                (&[local, ("origin", "http://localhost"), ("origin", "http://localhost")], NO_ORIGIN),
            ],
        );
    }

    #[test]
    fn a_list_replaces_the_loopback_names() {
        let listed = Security::new().allowed_hosts(["mcp.example.com", "*.internal:8080"]);
        assert_rows(
            &listed,
            &[
                (&[("host", "MCP.example.com:443")], Ok(())),
                (&[("host", "a.b.internal:8080")], Ok(())),
                (&[("host", "a.internal")], NO_HOST),
                (&[("host", "localhost")], NO_HOST),
                // The server's own pages, only with its exact host and port.
                (&[("host", "mcp.example.com"), ("origin", "https://mcp.example.com")], Ok(())),
                (&[("host", "a.internal:8080"), ("origin", "http://a.internal:8080")], Ok(())),
                (&[("host", "a.internal:8080"), ("origin", "http://b.internal:8080")], NO_ORIGIN),
                (&[("host", "mcp.example.com"), ("origin", "https://mcp.example.com:8443")], NO_ORIGIN),
            ],
        );
        assert_rows(&listed.clone().allow_loopback(true), &[(&[("host", "localhost")], Ok(()))]);
        assert_rows(&Security::new().allow_loopback(false), &[(&[("host", "localhost")], NO_HOST)]);
        let host = ("host", "mcp.example.com");
        assert_rows(
            &listed.allowed_origins(["https://app.example.com"]),
            &[
                (&[host, ("origin", "https://app.example.com")], Ok(())),
                (&[host, ("origin", "https://mcp.example.com")], Ok(())),
                (&[host, ("origin", "http://localhost:5173")], NO_ORIGIN),
            ],
        );
    }

    #[test]
    fn disabled_checks_are_skipped() {
        let any_host = Security::new().insecure_any_host();
        assert_rows(
            &any_host,
            &[
                (&[], Ok(())),
                (&[("host", "evil.example")], Ok(())),
                // After DNS rebinding, the attacker's page has the server's host.
                (&[("host", "evil.example"), ("origin", "http://evil.example")], NO_ORIGIN),
            ],
        );
        assert_rows(
            &Security::new().insecure_any_origin(),
            &[
                (&[("host", "localhost"), ("origin", "null")], Ok(())),
                (&[("host", "evil.example"), ("origin", "null")], NO_HOST),
            ],
        );
    }

    #[test]
    fn only_trusted_proxies_set_the_forwarded_host() {
        let security =
            Security::new().allowed_hosts(["mcp.example.com"]).trusted_proxies(["10.0.0.0/8", "2001:db8::1"]);
        let (good, bad) = (("host", "mcp.example.com"), ("host", "10.0.0.7:3000"));
        let (said, lied) = (("x-forwarded-host", "mcp.example.com"), ("x-forwarded-host", "evil.example"));
        let rows: [(&str, Headers<'_>, Result<(), Rejection>); 12] = [
            // The header of a trusted proxy wins. Without it, `Host` counts.
            ("10.1.2.3:9", &[bad, said], Ok(())),
            ("[::ffff:10.1.2.3]:9", &[bad, said], Ok(())),
            ("[2001:db8::1]:9", &[bad, ("forwarded", "for=_a;host=mcp.example.com")], Ok(())),
            ("10.1.2.3:9", &[good, lied], NO_HOST),
            ("10.1.2.3:9", &[good], Ok(())),
            ("10.1.2.3:9", &[bad], NO_HOST),
            ("10.1.2.3:9", &[bad, said, ("origin", "https://mcp.example.com")], Ok(())),
            // The forwarding headers must agree.
            ("10.1.2.3:9", &[good, said, lied], Err(Rejection::InvalidHeader("X-Forwarded-Host"))),
            ("10.1.2.3:9", &[good, said, ("forwarded", "host=a")], Err(Rejection::InvalidHeader("Forwarded"))),
            ("10.1.2.3:9", &[good, ("x-forwarded-host", "127.1")], Err(Rejection::InvalidHeader("X-Forwarded-Host"))),
            // The headers of other peers are ignored.
            ("11.1.2.3:9", &[bad, said], NO_HOST),
            ("11.1.2.3:9", &[good, lied], Ok(())),
        ];
        for (peer, headers, expected) in rows {
            assert_eq!(check(&security, &from_peer(peer, headers)), expected, "{peer} {headers:?}");
        }
        assert_eq!(check(&security, &head(&[bad, said])), NO_HOST, "a peer nobody knows");
    }

    #[test]
    fn in_http_2_the_target_names_the_host() {
        let security = Security::new();
        let check = |uri: &str, version, host: Option<&str>| {
            let mut request = Request::post(uri).version(version);
            if let Some(host) = host {
                request = request.header("host", host);
            }
            check(&security, &request.body(()).unwrap().into_parts().0)
        };
        assert_eq!(check("http://localhost:3000/mcp", Version::HTTP_2, None), Ok(()));
        assert_eq!(check("http://evil.example/mcp", Version::HTTP_2, None), NO_HOST);
        assert_eq!(check("http://u@localhost/mcp", Version::HTTP_2, None), BAD_HOST);
        assert_eq!(check("/mcp", Version::HTTP_2, None), BAD_HOST);
        // If both are present, they must be equal.
        assert_eq!(check("http://localhost/mcp", Version::HTTP_2, Some("LOCALHOST")), Ok(()));
        assert_eq!(check("http://localhost/mcp", Version::HTTP_11, Some("evil.example")), BAD_HOST);
        assert_eq!(check("http://evil.example/mcp", Version::HTTP_2, Some("localhost")), BAD_HOST);
        // HTTP/1.1 requires the header (RFC 9112, section 3.2).
        assert_eq!(check("http://localhost/mcp", Version::HTTP_11, None), BAD_HOST);
    }

    #[test]
    fn setting_errors_name_the_setting_and_the_entry() {
        let new = Security::new;
        let rows = [
            (new().allowed_hosts(["a", "http://b"]), "setting `Security::allowed_hosts`: `http://b` has a scheme"),
            (new().allowed_origins(["null"]), "setting `Security::allowed_origins`: `null` is every sandboxed page"),
            (
                new().trusted_proxies(["10.0.0.0/33"]),
                "setting `Security::trusted_proxies`: `10.0.0.0/33` is no network",
            ),
        ];
        for (security, message) in rows {
            let problems: Vec<String> = security.problems().map(ToString::to_string).collect();
            assert!(problems.len() == 1 && problems[0].starts_with(message), "{problems:?}");
        }
    }

    proptest! {
        #[test]
        fn no_other_host_passes_for_loopback(host in "(localhost|127\\.0\\.0\\.1|\\[::1\\])?[ -~]{1,12}") {
            if check(&Security::new(), &head(&[("host", &host)])) == Ok(()) {
                let url: http::Uri = format!("http://{host}/").parse().unwrap();
                let name = url.host().unwrap().to_ascii_lowercase();
                let name = name.strip_suffix('.').unwrap_or(&name);
                prop_assert!(matches!(name, "localhost" | "[::1]") || name.starts_with("127."), "{}", host);
            }
        }

        #[test]
        fn checking_never_panics(host in "[ -~]{0,40}", origin in "(https?://)?[ -~]{0,40}") {
            let _ = check(&Security::new(), &head(&[("host", &host), ("origin", &origin)]));
        }
    }
}
