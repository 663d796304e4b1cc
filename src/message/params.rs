//! Parameters: the positions of relevant members, found in the same pass that parses the request.
//! Arguments of a tool may be large, so each avoided pass is noticeable.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;
use std::ops::Range;

use bytestring::ByteString;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::RawJson;
use super::id::check_progress_token;

/// The parameters of a message.
#[derive(Debug, Clone)]
pub(crate) struct Params {
    text: RawJson,
    /// `None`: not searched for yet.
    spans: Option<MemberSpans>,
}

/// The parts of a call of a tool or prompt, as the transport found them in its parameters.
#[derive(Debug, Clone)]
pub(crate) struct Outline {
    /// A JSON string.
    pub(crate) name: RawJson,
    pub(crate) arguments: Option<RawJson>,
}

/// The positions of some members in the text of an object. It is passed by value, so it is small.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MemberSpans {
    /// The offset from which spans count: the name of the first member if the object was scanned
    /// while its message was parsed.
    origin: u32,
    pub(crate) meta: Option<Span>,
    pub(crate) name: Option<Span>,
    pub(crate) arguments: Option<Span>,
    pub(crate) uri: Option<Span>,
    pub(crate) task: Option<Span>,
    pub(crate) input_responses: Option<Span>,
    pub(crate) request_state: Option<Span>,
}

/// The position of a value in the text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    start: u32,
    end: NonZeroU32,
}

impl Params {
    pub(crate) fn text(&self) -> &RawJson {
        &self.text
    }

    pub(crate) fn into_text(self) -> RawJson {
        self.text
    }

    /// Returns the spans that were found when the message was parsed.
    pub(super) fn scanned(&self) -> Option<MemberSpans> {
        self.spans
    }

    /// Returns the spans of the members; `None` if the parameters are not an object, or have one of
    /// the members twice.
    pub(super) fn spans(&self) -> Option<MemberSpans> {
        self.spans.or_else(|| {
            let text = self.text.as_str();
            let mut parser = serde_json::Deserializer::from_str(text);
            parser.deserialize_map(Members { base: Some(text) }).ok()?.spans
        })
    }

    /// Checks what the transport itself reads of a request's parameters: none of these members
    /// occurs twice, and a progress token is valid.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        #[derive(Deserialize)]
        struct Meta<'a> {
            #[serde(borrow, default, rename = "progressToken")]
            token: Option<&'a RawValue>,
        }
        let Some(spans) = self.spans() else {
            return if self.text.as_str().starts_with('{') { Err("a member occurs twice") } else { Ok(()) };
        };
        let Some(meta) = spans.meta.map(|meta| self.text.part(spans.range(meta))) else { return Ok(()) };
        // Deserialized as a struct, an array would be the members by position.
        if !meta.as_str().starts_with('{') {
            return Ok(());
        }
        let Ok(Meta { token }) = meta.read_borrowed() else { return Err("`progressToken` occurs twice") };
        token.map_or(Ok(()), |token| check_progress_token(token.get()))
    }

    /// Returns the outline of a call, if its parts were found when the message was parsed.
    pub(crate) fn outline(&self) -> Option<Outline> {
        let spans = self.spans?;
        let cut = |span| self.text.part(spans.range(span));
        let name = Some(cut(spans.name?)).filter(|name| name.as_str().starts_with('"'))?;
        let arguments = spans.arguments.map(cut).filter(|arguments| arguments.as_str() != "null");
        Some(Outline { name, arguments })
    }
}

impl From<RawJson> for Params {
    fn from(text: RawJson) -> Self {
        Self { text, spans: None }
    }
}

impl MemberSpans {
    fn span_of(&mut self, name: &str) -> Option<&mut Option<Span>> {
        Some(match name {
            "_meta" => &mut self.meta,
            "name" => &mut self.name,
            "arguments" => &mut self.arguments,
            "uri" => &mut self.uri,
            "taskId" => &mut self.task,
            "inputResponses" => &mut self.input_responses,
            "requestState" => &mut self.request_state,
            _ => return None,
        })
    }

    /// Returns the position of a span in the text of the object.
    pub(super) fn range(&self, span: Span) -> Range<usize> {
        let origin = self.origin as usize;
        origin + span.start as usize..origin + span.end.get() as usize
    }
}

/// An object that was scanned while the message around it was parsed.
#[derive(Debug)]
pub(super) struct Scanned<'a> {
    /// The name of its first member, if it is a part of the text; a name with escapes is a copy.
    first: Option<&'a str>,
    /// The end of the last value, counted from there.
    end: u32,
    /// `None`: a second scan is needed, because a member occurs twice or its position is unknown.
    spans: Option<MemberSpans>,
}

impl<'a> Scanned<'a> {
    /// Cuts the object out of the text from which it was parsed; `None` if that needs a second
    /// scan.
    pub(super) fn cut(self, body: &ByteString, text: &'a str) -> Option<Params> {
        let spans = self.spans?;
        let Some(first) = self.first else {
            return Some(Params { text: RawJson::empty_object(), spans: Some(spans) });
        };
        let start = offset_in(text, first);
        let before = text[..start].strip_suffix('"')?.trim_ascii_end().strip_suffix('{')?;
        let after = text[start + self.end as usize..].trim_ascii_start().strip_prefix('}')?;
        let whole = &text[before.len()..text.len() - after.len()];
        let origin = u32::try_from(start - before.len()).ok()?;
        Some(Params { text: RawJson::trusted(body.slice_ref(whole)), spans: Some(MemberSpans { origin, ..spans }) })
    }
}

/// Returns the offset of a part in a text.
fn offset_in(text: &str, part: &str) -> usize {
    part.as_ptr().addr() - text.as_ptr().addr()
}

impl<'de: 'a, 'a> Deserialize<'de> for Scanned<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members { base: None })
    }
}

/// Reads the members of an object.
struct Members<'a> {
    /// The text from which offsets count; `None`: from the first member.
    base: Option<&'a str>,
}

impl<'de: 'a, 'a> Visitor<'de> for Members<'a> {
    type Value = Scanned<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scanned<'de>, A::Error> {
        #[derive(Deserialize)]
        struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
        let mut scanned = Scanned { first: None, end: 0, spans: Some(MemberSpans::default()) };
        let mut next = map.next_key()?;
        if let Some(Name(Cow::Borrowed(first))) = next {
            scanned.first = Some(first);
        }
        let base = self.base.or(scanned.first);
        while let Some(Name(name)) = next {
            let value: &RawValue = map.next_value()?;
            scanned.spans = scanned.spans.and_then(|mut spans| {
                let start = u32::try_from(offset_in(base?, value.get())).ok()?;
                scanned.end = start.checked_add(u32::try_from(value.get().len()).ok()?)?;
                if let Some(slot) = spans.span_of(&name) {
                    let span = Span { start, end: NonZeroU32::new(scanned.end)? };
                    if slot.replace(span).is_some() {
                        return None;
                    }
                }
                Some(spans)
            });
            next = map.next_key()?;
        }
        Ok(scanned)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(borrow)]
        params: Scanned<'a>,
    }

    /// Returns the parameters of a message, and the spans that were found.
    fn cut(text: &str) -> Option<(String, MemberSpans)> {
        let body = ByteString::from(text);
        let message: Message<'_> = serde_json::from_str(&body).unwrap();
        let params = message.params.cut(&body, &body)?;
        Some((params.text.as_str().to_owned(), params.spans?))
    }

    #[test]
    fn an_object_is_cut_out_verbatim() {
        let params = "{ \"name\" : \"a\" , \"x\": [1, {}],\n\"arguments\" :{\"name\":\"b\"} }";
        let (text, spans) = cut(&format!("{{\"params\": {params} , \"id\":1}}")).unwrap();
        assert_eq!(text, params);
        assert_eq!(&text[spans.range(spans.name.unwrap())], "\"a\"");
        assert_eq!(&text[spans.range(spans.arguments.unwrap())], r#"{"name":"b"}"#);
        assert!(spans.meta.is_none());
    }

    #[test]
    fn ambiguous_objects_are_not_cut() {
        for params in [r#"{"name":1,"name":2}"#, r#"{"n\u0061me":1}"#] {
            assert!(cut(&format!(r#"{{"params":{params}}}"#)).is_none(), "{params}");
        }
        // Names after the first may have escapes.
        let (text, spans) = cut(r#"{"params":{"a":0,"n\u0061me":1}}"#).unwrap();
        assert_eq!(&text[spans.range(spans.name.unwrap())], "1");
        assert_eq!(cut(r#"{"params":{ }}"#).unwrap().0, "{}");
    }

    #[test]
    fn a_second_scan_finds_the_same_spans() {
        let params = Params::from(RawJson::trusted(r#" {"uri":"u","_meta":{}}"#));
        let spans = params.spans().unwrap();
        assert_eq!(&params.text.as_str()[spans.range(spans.uri.unwrap())], "\"u\"");
        let escaped = Params::from(RawJson::trusted(r#"{"\u005fmeta":7}"#));
        let spans = escaped.spans().unwrap();
        assert_eq!(&escaped.text.as_str()[spans.range(spans.meta.unwrap())], "7");
        for text in ["[]", "null", r#"{"uri":1,"uri":2}"#] {
            assert!(Params::from(RawJson::trusted(text)).spans().is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_cut_text_equals_the_object(
            members in proptest::collection::vec(("[a-z\"\\\\ _{}]{0,6}", "[ -~]{0,8}"), 0..5),
            blank in "[ \n\t]{0,2}",
        ) {
            let quoted = |text: &String| serde_json::to_string(text).unwrap();
            let written: Vec<String> =
                members.iter().map(|(name, value)| format!("{}{blank}:{}{blank}", quoted(name), quoted(value))).collect();
            let params = format!("{{{blank}{}}}", written.join(","));
            if let Some((text, _)) = cut(&format!(r#"{{"id":{{}},"params":{blank}{params}{blank},"z":{{}}}}"#)) {
                let same = |text: &str| serde_json::from_str::<Value>(text).unwrap();
                prop_assert_eq!(same(&text), same(&params));
            }
        }
    }
}
