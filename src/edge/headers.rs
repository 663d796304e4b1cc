//! The header reader: collects the relevant headers in one pass, and parses those of the protocol.
//!
//! 1. `Mcp-Session-Id`, `MCP-Protocol-Version` and `Last-Event-ID` may occur only once. Repeated
//!    headers are rejected even if they are equal, because an intermediary may have read the other
//!    one.
//! 2. `Mcp-Method`, `Mcp-Name` and each `Mcp-Param-..` may occur only once too, since a gateway may
//!    have routed by either. The session revisions do not know these headers. In 2026-07-28 a
//!    repetition is a mismatch with a code of its own.
//! 3. Reading never rejects a value. A revision without sessions ignores the contents of
//!    `Mcp-Session-Id` and `Last-Event-ID`. A revision with sessions calls
//!    [`McpHeaders::session_id`] and [`McpHeaders::last_event`], which reject invalid values.
//! 4. Stored values are limited in size. An empty value counts as absent, because proxies blank
//!    headers out.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::error::Rejection;
use crate::header::PARAM_PREFIX;
use crate::identity::SessionId;
use crate::message::{MAX_VERSION, ProtocolVersion};

/// The longest id of an event. This crate's ids are far shorter; the limit leaves space for those
/// of an application's own event store.
const MAX_EVENT: usize = 512;

/// The headers that the edge reads, unparsed.
#[derive(Debug, Default)]
pub(super) struct Head<'a> {
    pub(super) host: Found<'a>,
    pub(super) origin: Found<'a>,
    pub(super) accept: Found<'a>,
    pub(super) content_type: Found<'a>,
    pub(super) content_encoding: Found<'a>,
    pub(super) content_length: Found<'a>,
    session: Found<'a>,
    version: Found<'a>,
    last_event: Found<'a>,
    method: Found<'a>,
    named: Found<'a>,
}

/// A header: absent, present once, or repeated.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Found<'a> {
    #[default]
    Nowhere,
    Once(&'a HeaderValue),
    /// The first of several.
    Often(&'a HeaderValue),
}

/// The protocol's own headers of one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct McpHeaders {
    pub(crate) session: Option<SessionHeader>,
    /// The unparsed value, which the response repeats.
    pub(crate) session_text: Option<HeaderValue>,
    pub(crate) version: Option<VersionHeader>,
    last_event: Option<HeaderValue>,
    /// `Mcp-Method` and `Mcp-Name`, which only the stateless revision has.
    pub(crate) method: Option<HeaderValue>,
    pub(crate) named: Option<HeaderValue>,
    doubled: Option<&'static str>,
}

/// The value of `Mcp-Session-Id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionHeader {
    /// An id in the form in which this crate issues ids.
    Known(SessionId),
    /// Visible ASCII, as the specification requires, but not an id of this crate.
    Foreign,
    /// Not visible ASCII.
    Malformed,
}

/// The value of `MCP-Protocol-Version`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum VersionHeader {
    Known(ProtocolVersion),
    /// The first visible characters of an unknown value.
    Unknown(String),
}

impl McpHeaders {
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, Rejection> {
        Self::of(&Head::read(headers), headers)
    }

    pub(super) fn of(head: &Head<'_>, headers: &HeaderMap) -> Result<Self, Rejection> {
        let version = head.version.stated("MCP-Protocol-Version")?.map(read_version);
        let doubled = head.doubled_mirror(headers);
        if let Some(shown) = doubled
            && !version.as_ref().is_some_and(VersionHeader::is_modern)
        {
            return Err(Rejection::DuplicateHeader(shown));
        }
        let session = head.session.stated("Mcp-Session-Id")?;
        Ok(Self {
            method: head.method.first().cloned(),
            named: head.named.first().cloned(),
            doubled,
            session: session.map(read_session),
            session_text: session.cloned(),
            version,
            last_event: head.last_event.stated("Last-Event-ID")?.cloned(),
        })
    }

    /// Returns the name of a repeated header that mirrors the body. Set only for requests of
    /// 2026-07-28.
    pub(crate) fn doubled(&self) -> Option<&'static str> {
        self.doubled
    }

    /// Returns the session that the request names, if any.
    pub(crate) fn session_id(&self) -> Result<Option<SessionId>, Rejection> {
        match self.session {
            None => Ok(None),
            Some(SessionHeader::Known(id)) => Ok(Some(id)),
            Some(SessionHeader::Foreign) => Err(Rejection::SessionNotFound),
            Some(SessionHeader::Malformed) => Err(Rejection::InvalidHeader("Mcp-Session-Id")),
        }
    }

    /// Returns the id of the last event that the client has received.
    pub(crate) fn last_event(&self) -> Result<Option<&str>, Rejection> {
        let Some(value) = &self.last_event else { return Ok(None) };
        match value.to_str() {
            Ok(text) if text.len() <= MAX_EVENT => Ok(Some(text)),
            _ => Err(Rejection::InvalidHeader("Last-Event-ID")),
        }
    }
}

impl<'a> Head<'a> {
    pub(super) fn read(headers: &'a HeaderMap) -> Self {
        let mut head = Self::default();
        for (name, value) in headers {
            if let Some(found) = head.place(name) {
                *found = match *found {
                    Found::Nowhere => Found::Once(value),
                    Found::Once(first) | Found::Often(first) => Found::Often(first),
                };
            }
        }
        head
    }

    /// Returns the name of a repeated header that mirrors the body.
    fn doubled_mirror(&self, headers: &HeaderMap) -> Option<&'static str> {
        match (self.method, self.named) {
            (Found::Often(_), _) => Some("Mcp-Method"),
            (_, Found::Often(_)) => Some("Mcp-Name"),
            _ => has_doubled_param(headers).then_some("Mcp-Param-*"),
        }
    }

    fn place(&mut self, name: &HeaderName) -> Option<&mut Found<'a>> {
        Some(match name.as_str() {
            "host" => &mut self.host,
            "origin" => &mut self.origin,
            "accept" => &mut self.accept,
            "content-type" => &mut self.content_type,
            "content-encoding" => &mut self.content_encoding,
            "content-length" => &mut self.content_length,
            "mcp-session-id" => &mut self.session,
            "mcp-protocol-version" => &mut self.version,
            "last-event-id" => &mut self.last_event,
            "mcp-method" => &mut self.method,
            "mcp-name" => &mut self.named,
            _ => return None,
        })
    }
}

impl<'a> Found<'a> {
    pub(super) fn first(self) -> Option<&'a HeaderValue> {
        match self {
            Self::Nowhere => None,
            Self::Once(value) | Self::Often(value) => Some(value),
        }
    }

    /// Returns the header, or rejects it if it is repeated. `shown` is its name for the rejection.
    pub(super) fn once(self, shown: &'static str) -> Result<Option<&'a HeaderValue>, Rejection> {
        match self {
            Self::Often(_) => Err(Rejection::DuplicateHeader(shown)),
            found => Ok(found.first()),
        }
    }

    /// Returns the header as [`Found::once`] does. An empty value counts as absent.
    fn stated(self, shown: &'static str) -> Result<Option<&'a HeaderValue>, Rejection> {
        Ok(self.once(shown)?.filter(|value| !value.as_bytes().trim_ascii().is_empty()))
    }
}

/// Returns `true` if a header that mirrors an argument is repeated.
fn has_doubled_param(headers: &HeaderMap) -> bool {
    // In nearly all requests no header is repeated.
    if headers.len() == headers.keys_len() {
        return false;
    }
    let mut params = headers.keys().filter(|name| name.as_str().starts_with(PARAM_PREFIX));
    params.any(|name| headers.get_all(name).iter().nth(1).is_some())
}

fn read_session(value: &HeaderValue) -> SessionHeader {
    let bytes = value.as_bytes();
    if !bytes.iter().all(u8::is_ascii_graphic) {
        return SessionHeader::Malformed;
    }
    match std::str::from_utf8(bytes).ok().and_then(SessionId::parse) {
        Some(id) => SessionHeader::Known(id),
        None => SessionHeader::Foreign,
    }
}

fn read_version(value: &HeaderValue) -> VersionHeader {
    match value.to_str().ok().and_then(|text| text.parse().ok()) {
        Some(version) => VersionHeader::Known(version),
        None => {
            let visible = value.as_bytes().iter().copied().filter(u8::is_ascii_graphic);
            VersionHeader::Unknown(visible.take(MAX_VERSION).map(char::from).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Expected<T> = Result<Option<T>, Rejection>;

    fn read(rows: &[(&'static str, &[u8])]) -> Result<McpHeaders, Rejection> {
        let mut headers = HeaderMap::new();
        for (name, value) in rows {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        McpHeaders::read(&headers)
    }

    #[test]
    fn session_ids_are_valid_foreign_or_malformed() {
        let id = SessionId::random();
        let ours = id.to_string();
        let rows: [(&[u8], Expected<SessionId>); 10] = [
            (ours.as_bytes(), Ok(Some(id))),
            // Visible ASCII, but not an id of this crate.
            (b"abc", Err(Rejection::SessionNotFound)),
            (b"!\"#~", Err(Rejection::SessionNotFound)),
            (&ours.as_bytes()[1..], Err(Rejection::SessionNotFound)),
            (&[b'a'; 5000], Err(Rejection::SessionNotFound)),
            // Outside 0x21 to 0x7E.
            (b"", Ok(None)),
            (b" \t", Ok(None)),
            (b"a b", Err(Rejection::InvalidHeader("Mcp-Session-Id"))),
            (b"a\tb", Err(Rejection::InvalidHeader("Mcp-Session-Id"))),
            (b"caf\xc3\xa9", Err(Rejection::InvalidHeader("Mcp-Session-Id"))),
        ];
        for (value, expected) in rows {
            let headers = read(&[("mcp-session-id", value)]).unwrap();
            assert_eq!(headers.session_id(), expected, "{}", value.escape_ascii());
        }
        assert_eq!(read(&[]).unwrap(), McpHeaders::default());
        assert_eq!(McpHeaders::default().session_id(), Ok(None));
    }

    #[test]
    fn unknown_versions_are_shortened_and_escaped() {
        for version in ProtocolVersion::SESSION_ERA {
            let headers = read(&[("mcp-protocol-version", version.as_str().as_bytes())]).unwrap();
            assert_eq!(headers.version, Some(VersionHeader::Known(version)));
        }
        let rows: [(&[u8], &str); 4] = [
            (b"1999-01-01", "1999-01-01"),
            (b"2025-06-18, 2025-06-18", "2025-06-18,2025-06-18"),
            (b"a\t\xffb", "ab"),
            (&[b'x'; 5000], &"x".repeat(64)),
        ];
        for (value, kept) in rows {
            let headers = read(&[("mcp-protocol-version", value)]).unwrap();
            assert_eq!(headers.version, Some(VersionHeader::Unknown(kept.to_owned())));
        }
        assert_eq!(read(&[("mcp-protocol-version", b"")]).unwrap().version, None);
    }

    #[test]
    fn the_last_event_is_bounded_text() {
        let rows: [(&[u8], Expected<&str>); 5] = [
            (b"0-1", Ok(Some("0-1"))),
            (b"any thing", Ok(Some("any thing"))),
            (b"", Ok(None)),
            (b"\xff", Err(Rejection::InvalidHeader("Last-Event-ID"))),
            (&[b'x'; MAX_EVENT + 1], Err(Rejection::InvalidHeader("Last-Event-ID"))),
        ];
        for (value, expected) in rows {
            assert_eq!(read(&[("last-event-id", value)]).unwrap().last_event(), expected);
        }
    }

    #[test]
    fn duplicate_headers_are_rejected_even_if_equal() {
        for (name, shown) in [
            ("mcp-session-id", "Mcp-Session-Id"),
            ("mcp-protocol-version", "MCP-Protocol-Version"),
            ("last-event-id", "Last-Event-ID"),
            ("mcp-method", "Mcp-Method"),
            ("mcp-name", "Mcp-Name"),
            ("mcp-param-region", "Mcp-Param-*"),
        ] {
            for second in [&b"a"[..], b"b", b""] {
                assert_eq!(read(&[(name, b"a"), (name, second)]), Err(Rejection::DuplicateHeader(shown)));
                let modern = ("mcp-protocol-version", &b"2026-07-28"[..]);
                let read = read(&[modern, (name, b"a"), (name, second)]);
                if name.starts_with("mcp-m") || name.starts_with("mcp-n") || name.starts_with(PARAM_PREFIX) {
                    assert_eq!(read.unwrap().doubled(), Some(shown));
                } else {
                    assert_eq!(read, Err(Rejection::DuplicateHeader(shown)));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(value in proptest::collection::vec(prop_oneof![0x20u8..0x7f, 0x80u8..], 0..100)) {
            let headers =
                read(&[("mcp-session-id", &value), ("mcp-protocol-version", &value), ("last-event-id", &value)]).unwrap();
            let _ = (headers.session_id(), headers.last_event());
        }
    }
}
