//! Result fields: the members added to every result (2026-07-28, Base Protocol, "Result Responses",
//! "Per-response protocol fields"; Caching, "Cacheable Results").
//!
//! 1. `resultType` is `complete` unless the server states another one.
//! 2. `_meta` names the server, if it has a name.
//! 3. A cacheable result states its lifetime and scope. The default is no caching (`ttlMs` 0) and
//!    the scope `private`.
//!
//! Members that the server states are kept. Nearly always it states none of these, or only the
//! third at the beginning. A single search of the bytes shows this, and the result is then copied
//! behind the new members without being parsed.

use std::borrow::Cow;
use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem::Finder;
use serde_json::value::RawValue;

use crate::message::{ErrorObject, RawJson, RequestId, write};

const COMPLETE: &[u8] = br#""resultType":"complete""#;
const META: &[u8] = br#","_meta":{"io.modelcontextprotocol/serverInfo":"#;
const UNCACHED: &[u8] = br#","ttlMs":0,"cacheScope":"private""#;

// Built once, because building one costs more than a search.
static RESULT_TYPE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"resultType\""));
static META_MEMBER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"_meta\""));
static TTL: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"ttlMs\""));
static SCOPE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"cacheScope\""));

/// The key of the server's info in `_meta`.
const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

/// The members to add to a result.
#[derive(Debug, Clone, Default)]
pub(super) struct ResultFields {
    /// The server's name and version.
    pub(super) server: Option<RawJson>,
    /// Whether the method's results may be cached.
    pub(super) cacheable: bool,
}

/// Returns `true` if results of a method may be cached, and must state how.
pub(super) fn is_cacheable(method: &str) -> bool {
    matches!(
        method,
        "server/discover"
            | "tools/list"
            | "prompts/list"
            | "resources/list"
            | "resources/templates/list"
            | "resources/read"
    )
}

impl ResultFields {
    /// Writes the answer to a request.
    pub(super) fn answer(&self, id: &RequestId, outcome: &Result<RawJson, ErrorObject>) -> Bytes {
        match outcome {
            Ok(result) => {
                let server = self.server.as_ref().map_or(0, |server| server.as_bytes().len());
                let mut out = Vec::with_capacity(result.as_bytes().len() + server + id.as_json().len() + 160);
                out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
                out.extend_from_slice(id.as_json().as_bytes());
                out.extend_from_slice(br#","result":"#);
                self.result(result, &mut out);
                out.push(b'}');
                out.into()
            }
            Err(error) => write::failure(Some(id), error),
        }
    }

    /// Writes a result with all its members.
    fn result(&self, result: &RawJson, out: &mut Vec<u8>) {
        let text = write::one_line(result.as_str());
        let text = text.trim_ascii();
        match text.strip_prefix('{') {
            Some(rest) if !self.says_something(rest) => {
                out.push(b'{');
                out.extend_from_slice(COMPLETE);
                if let Some(server) = &self.server {
                    out.extend_from_slice(META);
                    out.extend_from_slice(write::one_line(server.as_str()).as_bytes());
                    out.push(b'}');
                }
                if self.cacheable && !begins_with_hint(rest) {
                    out.extend_from_slice(UNCACHED);
                }
                if !rest.trim_ascii_start().starts_with('}') {
                    out.push(b',');
                }
                out.extend_from_slice(rest.as_bytes());
            }
            Some(_) => match self.merged(text) {
                Some(merged) => out.extend_from_slice(merged.as_bytes()),
                None => out.extend_from_slice(text.as_bytes()),
            },
            // Not an object, so not a result of the protocol. The server's text is kept.
            None => out.extend_from_slice(text.as_bytes()),
        }
    }

    /// Returns `true` if the result may already contain one of the members.
    fn says_something(&self, text: &str) -> bool {
        let has = |word: &Finder<'_>| word.find(text.as_bytes()).is_some();
        let says_how_to_cache = || self.cacheable && !begins_with_hint(text) && (has(&TTL) || has(&SCOPE));
        has(&RESULT_TYPE) || has(&META_MEMBER) || says_how_to_cache()
    }

    /// Returns the result with its missing members, for a result that has some of them.
    fn merged(&self, text: &str) -> Option<String> {
        let members: Vec<(Cow<'_, str>, &RawValue)> = Members::read(text)?;
        let member = |name: &str| members.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
        let mut out: Vec<(&str, Cow<'_, str>)> = Vec::with_capacity(members.len() + 4);
        let complete = member("resultType").is_none_or(|kind| kind.get() == "\"complete\"");
        if member("resultType").is_none() {
            out.push(("resultType", "\"complete\"".into()));
        }
        if let Some(meta) = self.meta(member("_meta")) {
            out.push(("_meta", meta));
        }
        if self.cacheable && complete {
            if member("ttlMs").is_none() {
                out.push(("ttlMs", "0".into()));
            }
            if member("cacheScope").is_none() {
                out.push(("cacheScope", "\"private\"".into()));
            }
        }
        out.extend(
            members.iter().filter(|(name, _)| name != "_meta").map(|(name, value)| (&**name, value.get().into())),
        );
        let mut text = String::from("{");
        for (at, (name, value)) in out.iter().enumerate() {
            if at > 0 {
                text.push(',');
            }
            text.push_str(&serde_json::to_string(name).ok()?);
            text.push(':');
            text.push_str(value);
        }
        text.push('}');
        Some(text)
    }

    /// Returns `_meta` with the server's info, unless it is present.
    fn meta<'a>(&self, meta: Option<&'a RawValue>) -> Option<Cow<'a, str>> {
        let server = self.server.as_ref().map(|server| write::one_line(server.as_str()));
        let Some(server) = server.as_deref() else {
            return meta.map(|meta| meta.get().into());
        };
        let Some(meta) = meta.map(RawValue::get) else {
            return Some(format!(r#"{{"{SERVER_INFO}":{server}}}"#).into());
        };
        let members = Members::read(meta);
        match (members, meta.strip_suffix('}')) {
            (Some(members), Some(open)) if !members.iter().any(|(name, _)| name == SERVER_INFO) => {
                let comma = if members.is_empty() { "" } else { "," };
                Some(format!(r#"{open}{comma}"{SERVER_INFO}":{server}}}"#).into())
            }
            // It is present, or `_meta` is no object. The server's text is kept.
            _ => Some(meta.into()),
        }
    }
}

/// Returns `true` if an object's first two members are those of a cache hint, in the order and the
/// form of [`CacheHint`](crate::server::CacheHint).
fn begins_with_hint(rest: &str) -> bool {
    let Some(rest) = rest.strip_prefix(r#""ttlMs":"#) else { return false };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let scope = rest[digits..].strip_prefix(r#","cacheScope":""#);
    digits > 0 && scope.is_some_and(|scope| scope.starts_with("private\"") || scope.starts_with("public\""))
}

/// The members of an object in their order, each value as its text.
struct Members;

impl Members {
    fn read(text: &str) -> Option<Vec<(Cow<'_, str>, &RawValue)>> {
        let mut parser = serde_json::Deserializer::from_str(text);
        serde::Deserializer::deserialize_map(&mut parser, Self).ok()
    }
}

impl<'de> serde::de::Visitor<'de> for Members {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        #[derive(serde::Deserialize)]
        struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
        let mut members = Vec::new();
        while let Some(Name(name)) = map.next_key()? {
            members.push((name, map.next_value()?));
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn stamped(cacheable: bool, server: Option<&'static str>, result: &'static str) -> String {
        let result_fields = ResultFields { server: server.map(RawJson::trusted), cacheable };
        let answer = result_fields.answer(&RequestId::from(1), &Ok(RawJson::trusted(result)));
        let text = String::from_utf8(answer.to_vec()).unwrap();
        let text = text.strip_prefix(r#"{"jsonrpc":"2.0","id":1,"result":"#).unwrap();
        text.strip_suffix('}').unwrap().to_owned()
    }

    const ME: Option<&str> = Some(r#"{"name":"a","version":"1"}"#);

    #[test]
    fn missing_fields_precede_a_plain_result() {
        assert_eq!(stamped(false, None, r#"{"a":1}"#), r#"{"resultType":"complete","a":1}"#);
        assert_eq!(stamped(false, None, "{}"), r#"{"resultType":"complete"}"#);
        assert_eq!(stamped(false, None, "{ }"), r#"{"resultType":"complete" }"#);
        assert_eq!(
            stamped(true, ME, r#"{"tools":[]}"#),
            r#"{"resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"a","version":"1"}},"ttlMs":0,"cacheScope":"private","tools":[]}"#
        );
    }

    #[test]
    fn a_leading_hint_needs_no_parsing() {
        // Parsing would remove the blanks between the members.
        assert_eq!(
            stamped(true, ME, r#"{"ttlMs":300000,"cacheScope":"public", "tools":[]}"#),
            r#"{"resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"a","version":"1"}},"ttlMs":300000,"cacheScope":"public", "tools":[]}"#
        );
        assert_eq!(
            stamped(true, None, r#"{"ttlMs":0,"cacheScope":"private"}"#),
            r#"{"resultType":"complete","ttlMs":0,"cacheScope":"private"}"#
        );
        assert_eq!(
            stamped(true, None, r#"{"cacheScope":"public", "ttlMs":1}"#),
            r#"{"resultType":"complete","cacheScope":"public","ttlMs":1}"#
        );
    }

    #[test]
    fn only_a_complete_leading_hint_is_recognised() {
        for (rest, wanted) in [
            (r#""ttlMs":1,"cacheScope":"public"}"#, true),
            (r#""ttlMs":1,"cacheScope":"private","tools":[]}"#, true),
            (r#""ttlMs":,"cacheScope":"public"}"#, false),
            (r#""ttlMs":-1,"cacheScope":"public"}"#, false),
            (r#""ttlMs":1,"cacheScope":"secret"}"#, false),
            (r#""ttlMs":1,"tools":[]}"#, false),
            (r#""tools":[],"ttlMs":1,"cacheScope":"public"}"#, false),
            ("}", false),
        ] {
            assert_eq!(begins_with_hint(rest), wanted, "{rest}");
        }
    }

    #[test]
    fn fields_of_the_server_are_preserved() {
        assert_eq!(
            stamped(true, ME, r#"{"ttlMs":5,"_meta":{"x":1},"tools":[]}"#),
            r#"{"resultType":"complete","_meta":{"x":1,"io.modelcontextprotocol/serverInfo":{"name":"a","version":"1"}},"cacheScope":"private","ttlMs":5,"tools":[]}"#
        );
        assert_eq!(
            stamped(true, None, r#"{"resultType":"input_required","requestState":"x"}"#),
            r#"{"resultType":"input_required","requestState":"x"}"#
        );
        let named = r#"{"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"b"}},"resultType":"task"}"#;
        assert_eq!(stamped(false, ME, named), named);
    }

    #[test]
    fn member_names_within_values_are_ignored() {
        let mentions = r#"{"content":[{"_meta":{}}],"a":"x"}"#;
        assert_eq!(stamped(false, None, mentions), format!(r#"{{"resultType":"complete",{}"#, &mentions[1..]));
    }
}
