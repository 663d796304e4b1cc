//! Decides what of a request's parameters is found in the very pass that reads the request: where
//! they lie, and where those members lie that somebody will ask for. A tool's arguments may be
//! large, and each pass over them less is felt.

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
    /// `None`: not looked for yet.
    outline: Option<Outline>,
}

/// Where some members of an object lie in its text. It is handed on by value, so it is small.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Outline {
    /// Where parts are counted from: the name of the first member, if it was met on the way.
    origin: u32,
    pub(crate) meta: Option<Part>,
    pub(crate) name: Option<Part>,
    pub(crate) arguments: Option<Part>,
    pub(crate) uri: Option<Part>,
    pub(crate) task: Option<Part>,
    pub(crate) input_responses: Option<Part>,
    pub(crate) request_state: Option<Part>,
}

/// The text of a value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
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

    /// What of them was met when they were read.
    pub(super) fn met(&self) -> Option<Outline> {
        self.outline
    }

    /// Where the members lie; `None` when they are no object, or have one of the members twice.
    pub(super) fn outline(&self) -> Option<Outline> {
        self.outline.or_else(|| {
            let text = self.text.as_str();
            let mut parser = serde_json::Deserializer::from_str(text);
            parser.deserialize_map(Members { base: Some(text) }).ok()?.outline
        })
    }

    /// Checks what the transport itself reads of a request's parameters: no member that it looks for
    /// is there twice, and a progress token is one.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        #[derive(Deserialize)]
        struct Meta<'a> {
            #[serde(borrow, default, rename = "progressToken")]
            token: Option<&'a RawValue>,
        }
        let Some(outline) = self.outline() else {
            return if self.text.as_str().starts_with('{') { Err("a member is there twice") } else { Ok(()) };
        };
        let Some(meta) = outline.meta.map(|meta| self.text.part(outline.range(meta))) else { return Ok(()) };
        // Read as a struct, an array would be the members by position.
        if !meta.as_str().starts_with('{') {
            return Ok(());
        }
        let Ok(Meta { token }) = meta.read_borrowed() else { return Err("`progressToken` is there twice") };
        token.map_or(Ok(()), |token| check_progress_token(token.get()))
    }

    /// `name`, a text, and `arguments`, where they were met.
    pub(crate) fn named(&self) -> Option<(RawJson, Option<RawJson>)> {
        let outline = self.outline?;
        let cut = |part| self.text.part(outline.range(part));
        let name = Some(cut(outline.name?)).filter(|name| name.as_str().starts_with('"'))?;
        Some((name, outline.arguments.map(cut).filter(|arguments| arguments.as_str() != "null")))
    }
}

impl From<RawJson> for Params {
    fn from(text: RawJson) -> Self {
        Self { text, outline: None }
    }
}

impl Outline {
    fn slot(&mut self, name: &str) -> Option<&mut Option<Part>> {
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

    /// Where a part lies in the text of the object.
    pub(super) fn range(&self, part: Part) -> Range<usize> {
        let origin = self.origin as usize;
        origin + part.start as usize..origin + part.end.get() as usize
    }
}

/// An object that is met while the message around it is read.
#[derive(Debug)]
pub(super) struct Met<'a> {
    /// The name of its first member, if it lies in the text; a name with escapes is a copy.
    first: Option<&'a str>,
    /// Where the last value ends, counted from there.
    end: u32,
    /// `None`: another look is needed, because a member is there twice or nobody knows where it lies.
    outline: Option<Outline>,
}

impl<'a> Met<'a> {
    /// Cuts the object out of the text it was read from; `None` when that needs another look.
    pub(super) fn cut(self, body: &ByteString, text: &'a str) -> Option<Params> {
        let outline = self.outline?;
        let Some(first) = self.first else {
            return Some(Params { text: RawJson::empty_object(), outline: Some(outline) });
        };
        let start = place(text, first);
        let before = text[..start].strip_suffix('"')?.trim_ascii_end().strip_suffix('{')?;
        let after = text[start + self.end as usize..].trim_ascii_start().strip_prefix('}')?;
        let whole = &text[before.len()..text.len() - after.len()];
        let origin = u32::try_from(start - before.len()).ok()?;
        Some(Params { text: RawJson::trusted(body.slice_ref(whole)), outline: Some(Outline { origin, ..outline }) })
    }
}

/// Where a part of a text begins in it.
fn place(text: &str, part: &str) -> usize {
    part.as_ptr().addr() - text.as_ptr().addr()
}

impl<'de: 'a, 'a> Deserialize<'de> for Met<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members { base: None })
    }
}

/// Reads the members of an object.
struct Members<'a> {
    /// What the places of the members are counted from; `None`: from the first of them.
    base: Option<&'a str>,
}

impl<'de: 'a, 'a> Visitor<'de> for Members<'a> {
    type Value = Met<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Met<'de>, A::Error> {
        #[derive(Deserialize)]
        struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
        let mut met = Met { first: None, end: 0, outline: Some(Outline::default()) };
        let mut next = map.next_key()?;
        if let Some(Name(Cow::Borrowed(first))) = next {
            met.first = Some(first);
        }
        let base = self.base.or(met.first);
        while let Some(Name(name)) = next {
            let value: &RawValue = map.next_value()?;
            met.outline = met.outline.and_then(|mut outline| {
                let start = u32::try_from(place(base?, value.get())).ok()?;
                met.end = start.checked_add(u32::try_from(value.get().len()).ok()?)?;
                if let Some(slot) = outline.slot(&name) {
                    let part = Part { start, end: NonZeroU32::new(met.end)? };
                    if slot.replace(part).is_some() {
                        return None;
                    }
                }
                Some(outline)
            });
            next = map.next_key()?;
        }
        Ok(met)
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
        params: Met<'a>,
    }

    /// The parameters of a message, and what was found in them.
    fn cut(text: &str) -> Option<(String, Outline)> {
        let body = ByteString::from(text);
        let message: Message<'_> = serde_json::from_str(&body).unwrap();
        let params = message.params.cut(&body, &body)?;
        Some((params.text.as_str().to_owned(), params.outline?))
    }

    #[test]
    fn an_object_is_cut_out_as_it_was_written() {
        let params = "{ \"name\" : \"a\" , \"x\": [1, {}],\n\"arguments\" :{\"name\":\"b\"} }";
        let (text, outline) = cut(&format!("{{\"params\": {params} , \"id\":1}}")).unwrap();
        assert_eq!(text, params);
        assert_eq!(&text[outline.range(outline.name.unwrap())], "\"a\"");
        assert_eq!(&text[outline.range(outline.arguments.unwrap())], r#"{"name":"b"}"#);
        assert!(outline.meta.is_none());
    }

    #[test]
    fn what_cannot_be_cut_without_another_look_is_not_cut() {
        for params in [r#"{"name":1,"name":2}"#, r#"{"n\u0061me":1}"#] {
            assert!(cut(&format!(r#"{{"params":{params}}}"#)).is_none(), "{params}");
        }
        // A later name may have escapes.
        let (text, outline) = cut(r#"{"params":{"a":0,"n\u0061me":1}}"#).unwrap();
        assert_eq!(&text[outline.range(outline.name.unwrap())], "1");
        assert_eq!(cut(r#"{"params":{ }}"#).unwrap().0, "{}");
    }

    #[test]
    fn what_was_read_before_has_the_same_outline() {
        let params = Params::from(RawJson::trusted(r#" {"uri":"u","_meta":{}}"#));
        let outline = params.outline().unwrap();
        assert_eq!(&params.text.as_str()[outline.range(outline.uri.unwrap())], "\"u\"");
        let escaped = Params::from(RawJson::trusted(r#"{"\u005fmeta":7}"#));
        let outline = escaped.outline().unwrap();
        assert_eq!(&escaped.text.as_str()[outline.range(outline.meta.unwrap())], "7");
        for text in ["[]", "null", r#"{"uri":1,"uri":2}"#] {
            assert!(Params::from(RawJson::trusted(text)).outline().is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_object_its_text_is_its_own(
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
