//! The `Accept` header: which of the two media types of responses the client accepts (RFC 9110,
//! section 12.5.1).
//!
//! 1. All `Accept` headers are one list. Without any, the client accepts everything.
//! 2. Of the ranges that match a type the most specific wins: `application/json`, then
//!    `application/*`, then `*/*`. Of two equally specific ranges, one that accepts wins.
//! 3. `q=0` rejects. Other weights do not matter, because the server chooses among the accepted
//!    types.
//! 4. Parameters other than `q` are ignored. A member that cannot be parsed is skipped.

use http::HeaderMap;
use http::header::ACCEPT;

use super::headers::Found;
use super::list;
use crate::error::Rejection;

/// The media types that the client accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepts {
    /// `application/json`.
    pub(crate) json: bool,
    /// `text/event-stream`.
    pub(crate) sse: bool,
}

/// The media types that the client must accept to get a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Both, as the specification requires for a POST.
    Both,
    /// JSON: a POST to a service that never streams.
    Json,
    /// An event stream: a GET, or a subscription.
    EventStream,
}

/// The maximum number of members that are read. Browsers send about ten.
const MAX_MEMBERS: usize = 64;

const JSON: (&[u8], &[u8]) = (b"application", b"json");
const SSE: (&[u8], &[u8]) = (b"text", b"event-stream");

impl Accepts {
    pub(crate) const BOTH: Self = Self { json: true, sse: true };

    pub(super) fn read(found: Found<'_>, headers: &HeaderMap) -> Self {
        match found {
            Found::Nowhere => return Self::BOTH,
            Found::Once(value) => {
                if let Some(usual) = usual(value.as_bytes()) {
                    return usual;
                }
            }
            Found::Often(_) => {}
        }
        let members = headers.get_all(ACCEPT).iter().flat_map(|value| list::split(value.as_bytes(), b','));
        let (mut json, mut sse) = (Verdict::default(), Verdict::default());
        for range in members.take(MAX_MEMBERS).filter_map(Range::parse) {
            json.hear(&range, JSON);
            sse.hear(&range, SSE);
        }
        Self { json: json.wanted, sse: sse.wanted }
    }

    /// Rejects a client that does not accept the needed types.
    pub(crate) fn require(self, needs: Needs) -> Result<(), Rejection> {
        let (enough, needs) = match needs {
            Needs::Both => (self.json && self.sse, "both application/json and text/event-stream"),
            Needs::Json => (self.json, "application/json"),
            Needs::EventStream => (self.sse, "text/event-stream"),
        };
        if enough { Ok(()) } else { Err(Rejection::NotAcceptable { needs }) }
    }
}

/// Recognizes the values that nearly all clients send, byte for byte.
fn usual(value: &[u8]) -> Option<Accepts> {
    match value {
        b"application/json, text/event-stream" | b"text/event-stream, application/json" | b"*/*" => Some(Accepts::BOTH),
        b"text/event-stream" => Some(Accepts { json: false, sse: true }),
        _ => None,
    }
}

/// A media range, and whether the client wants it.
struct Range<'a> {
    main: &'a [u8],
    sub: &'a [u8],
    wanted: bool,
}

impl<'a> Range<'a> {
    fn parse(member: &'a [u8]) -> Option<Self> {
        let mut parts = list::split(member, b';');
        let essence = parts.next()?;
        let slash = essence.iter().position(|byte| *byte == b'/')?;
        let (main, sub) = (essence.get(..slash)?, essence.get(slash + 1..)?);
        if !list::is_token(main) || !list::is_token(sub) || (main == b"*" && sub != b"*") {
            return None;
        }
        let mut weight = None;
        for part in parts.filter(|part| !part.is_empty()) {
            let (name, value) = list::parameter(part)?;
            if name.eq_ignore_ascii_case(b"q") && weight.replace(is_wanted(value)?).is_some() {
                return None;
            }
        }
        Some(Self { main, sub, wanted: weight.unwrap_or(true) })
    }

    /// Returns how specific the range is for a type; 0 if it does not match.
    fn specificity(&self, (main, sub): (&[u8], &[u8])) -> u8 {
        let main = self.main.eq_ignore_ascii_case(main);
        match self.sub {
            b"*" if self.main == b"*" => 1,
            b"*" if main => 2,
            own if main && own.eq_ignore_ascii_case(sub) => 3,
            _ => 0,
        }
    }
}

/// Parses a weight: 0 to 1 with at most three decimals (RFC 9110, section 12.4.2).
fn is_wanted(weight: &[u8]) -> Option<bool> {
    match weight {
        b"0" | b"0." => Some(false),
        b"1" | b"1." => Some(true),
        [b'0', b'.', decimals @ ..] if decimals.len() <= 3 && decimals.iter().all(u8::is_ascii_digit) => {
            Some(decimals.iter().any(|digit| *digit != b'0'))
        }
        [b'1', b'.', decimals @ ..] if decimals.len() <= 3 && decimals.iter().all(|digit| *digit == b'0') => Some(true),
        _ => None,
    }
}

/// The result of the most specific range so far.
#[derive(Default)]
struct Verdict {
    specificity: u8,
    wanted: bool,
}

impl Verdict {
    fn hear(&mut self, range: &Range<'_>, media_type: (&[u8], &[u8])) {
        let specificity = range.specificity(media_type);
        if specificity > self.specificity {
            *self = Self { specificity, wanted: range.wanted };
        } else if specificity != 0 && specificity == self.specificity {
            self.wanted |= range.wanted;
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::edge::headers::Head;

    fn read(values: &[&str]) -> (bool, bool) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ACCEPT, HeaderValue::from_str(value).unwrap());
        }
        let Accepts { json, sse } = Accepts::read(Head::read(&headers).accept, &headers);
        (json, sse)
    }

    #[test]
    fn accept_is_read_as_rfc_9110_has_it() {
        const ALL: (bool, bool) = (true, true);
        const JSON: (bool, bool) = (true, false);
        const SSE: (bool, bool) = (false, true);
        const NONE: (bool, bool) = (false, false);
        let rows: [(&[&str], (bool, bool)); 46] = [
            // Without a header everything is accepted, with an empty one nothing.
            (&[], ALL),
            (&[""], NONE),
            (&[" , ,"], NONE),
            // The usual values.
            (&["application/json, text/event-stream"], ALL),
            (&["text/event-stream, application/json"], ALL),
            (&["application/json,text/event-stream"], ALL),
            (&["text/event-stream"], SSE),
            (&["application/json"], JSON),
            (&["application/json", "text/event-stream"], ALL),
            (&["text/html", "application/json", "text/event-stream"], ALL),
            // Case, white space, parameters, empty parameters.
            (&["Application/JSON ,\tTEXT/Event-Stream"], ALL),
            (&["application/json; charset=utf-8; q=0.5, text/event-stream ;q=1.000"], ALL),
            (&["application/json;, text/event-stream;;q=1"], ALL),
            (&[r#"application/json;profile="a, b;q=0", text/event-stream"#], ALL),
            // Wildcards.
            (&["*/*"], ALL),
            (&["application/*"], JSON),
            (&["text/*"], SSE),
            (&["text/*, application/*"], ALL),
            (&["text/html, */*;q=0.1"], ALL),
            // `q=0` excludes, in all its spellings.
            (&["*/*;q=0"], NONE),
            (&["application/json;q=0, text/event-stream;q=0.001"], SSE),
            (&["application/json;Q=0.000, text/event-stream"], SSE),
            (&["application/json;q=0., text/event-stream;q=1."], SSE),
            // The most specific range wins at any position.
            (&["*/*, application/json;q=0"], SSE),
            (&["application/json;q=0, */*"], SSE),
            (&["text/*;q=0, */*"], JSON),
            (&["text/*;q=0, text/event-stream, application/*"], ALL),
            (&["*/*;q=0, application/*"], JSON),
            (&["*/*;q=0", "application/json"], JSON),
            // Of two equally specific ranges, one that accepts wins.
            (&["application/json;version=2;q=0, application/json"], JSON),
            (&["application/json, application/json;q=0"], JSON),
            // Other types with similar names.
            (&["application/json-seq, text/event-stream-foo, application/vnd.x+json"], NONE),
            (&["application/jsonp, text/event, xapplication/json"], NONE),
            (&["application, json, text"], NONE),
            // Malformed members are skipped, and the others count.
            (&["application/json;q=2, text/event-stream"], SSE),
            (&["application/json;q=-1, text/event-stream"], SSE),
            (&["application/json;q=0.0001, text/event-stream"], SSE),
            (&["application/json;q=, text/event-stream"], SSE),
            (&["application/json;q, text/event-stream"], SSE),
            (&["application/json;q=1;q=1, text/event-stream"], SSE),
            (&["application/json;q = 1, text/event-stream"], SSE),
            (&["*/json, */event-stream"], NONE),
            (&["application /json, text/ event-stream"], NONE),
            (&["application//json, text/event-stream/"], NONE),
            (&["/, */, /*, *, ;q=1, text/event-stream"], SSE),
            // An unclosed quote extends to the end.
            (&[r#"application/json, x/y;a=", text/event-stream"#], JSON),
        ];
        for (values, expected) in rows {
            assert_eq!(read(values), expected, "{values:?}");
        }
    }

    #[test]
    fn members_beyond_the_bound_are_not_read() {
        let many = "a/b,".repeat(MAX_MEMBERS);
        assert_eq!(read(&[&format!("{many}*/*")]), (false, false));
    }

    #[test]
    fn a_need_that_is_not_met_is_named() {
        let only_json = Accepts { json: true, sse: false };
        assert_eq!(only_json.require(Needs::Json), Ok(()));
        let rejected = only_json.require(Needs::EventStream).unwrap_err();
        assert_eq!((rejected.status().as_u16(), rejected.to_string().contains("text/event-stream")), (406, true));
        assert!(only_json.require(Needs::Both).is_err());
        assert_eq!(Accepts::BOTH.require(Needs::Both), Ok(()));
    }

    /// The same rules with another parser and without regard to speed. It sorts the ranges that the
    /// `mime` crate can parse from the least to the most specific, and takes the last that matches.
    fn reference(members: &[String], target: &mime::Mime) -> bool {
        let mut ranges: Vec<(u8, bool, mime::Mime)> = members
            .iter()
            .filter_map(|member| member.parse::<mime::Mime>().ok())
            .map(|range| {
                let rank = u8::from(range.type_() != mime::STAR) + u8::from(range.subtype() != mime::STAR);
                let weight: f32 = range.get_param("q").map_or(1.0, |q| q.as_str().parse().unwrap());
                (rank, weight > 0.0, range)
            })
            .filter(|(_, _, range)| {
                (range.type_() == mime::STAR || range.type_() == target.type_())
                    && (range.subtype() == mime::STAR || range.subtype() == target.subtype())
            })
            .collect();
        ranges.sort_by_key(|(rank, wanted, _)| (*rank, *wanted));
        ranges.last().is_some_and(|(_, wanted, _)| *wanted)
    }

    fn member() -> impl Strategy<Value = String> {
        let range = prop_oneof![
            Just("*/*"),
            Just("application/*"),
            Just("text/*"),
            Just("application/json"),
            Just("Application/Json"),
            Just("text/event-stream"),
            Just("text/html"),
            Just("application/json-seq"),
        ];
        let weight = prop_oneof![
            Just(""),
            Just("; q=0"),
            Just(";q=0.0"),
            Just("; q=0.001"),
            Just(";q=1"),
            Just(";a=b; q=0"),
            Just("; a=\"x, y\";q=0.5"),
        ];
        (range, weight).prop_map(|(range, weight)| format!("{range}{weight}"))
    }

    proptest! {
        #[test]
        fn a_slow_reference_agrees(members in proptest::collection::vec(member(), 1..8), cut in 0usize..8) {
            let (first, second) = members.split_at(cut.min(members.len()));
            let values: Vec<String> = [first, second].iter().filter(|part| !part.is_empty()).map(|part| part.join(" ,")).collect();
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let expected = (reference(&members, &mime::APPLICATION_JSON), reference(&members, &mime::TEXT_EVENT_STREAM));
            prop_assert_eq!(read(&values), expected, "{:?}", values);
        }

        #[test]
        fn reading_never_panics(value in "[ -~\t]{0,60}", bytes in proptest::collection::vec(0x80u8.., 0..20)) {
            let _ = read(&[&value]);
            let mut headers = HeaderMap::new();
            headers.append(ACCEPT, HeaderValue::from_bytes(&bytes).unwrap());
            let _ = Accepts::read(Head::read(&headers).accept, &headers);
        }
    }
}
