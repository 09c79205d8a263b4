//! JSON -> events: one object, or an array of them.
//!
//! A body is read twice. The first reading only checks the grammar and cuts an array into its items, so that a body that cannot be read is refused before
//! anything of it is kept, and a bad item costs no other. The second reads one item at a time and hands each value over as the slice it stands in: nothing
//! is copied but texts with escapes. Errors of the reader may quote the input; none leaves this file.

use std::borrow::Cow;
use std::fmt;
use std::vec;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::decode::decode;
use super::field::{Fields, Known, Sent};
use super::{Context, Decoded, Unread};
use crate::limits;
use crate::outcome::{Refusal, Refused};

/// The events of a `POST /e` body.
pub fn events<'a>(body: &'a [u8], context: &Context<'a>) -> Result<Events<'a>, Refused> {
    let text = std::str::from_utf8(body).map_err(|_| Refused::Unreadable)?;
    let items = match text.trim_ascii_start().as_bytes().first() {
        Some(b'{') => Items::One(Some(text)),
        Some(b'[') => Items::Listed(items(text, limits::BEACON_EVENTS)?.into_iter()),
        _ => return Err(Refused::Unreadable),
    };
    Ok(Events { items, context: *context })
}

/// Events, decoded one by one as they are asked for.
pub struct Events<'a> {
    items: Items<'a>,
    context: Context<'a>,
}

enum Items<'a> {
    One(Option<&'a str>),
    Listed(vec::IntoIter<&'a RawValue>),
}

impl<'a> Iterator for Events<'a> {
    type Item = Result<Decoded<'a>, Unread<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let text = match &mut self.items {
            Items::One(text) => text.take(),
            Items::Listed(items) => items.next().map(RawValue::get),
        };
        text.map(|text| event(text, &self.context))
    }
}

/// Cuts an array into its items, each well-formed JSON. An array without items, or with more than `most`, is refused.
pub(super) fn items(text: &str, most: usize) -> Result<Vec<&RawValue>, Refused> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let items = Array { most }.deserialize(&mut reader).map_err(|_| Refused::Unreadable)?;
    reader.end().map_err(|_| Refused::Unreadable)?;
    match items {
        None => Err(Refused::TooLarge),
        Some(items) if items.is_empty() => Err(Refused::Unreadable),
        Some(items) => Ok(items),
    }
}

/// Decodes the one event that `text` must be.
pub(super) fn event<'a>(text: &'a str, context: &Context<'a>) -> Result<Decoded<'a>, Unread<'a>> {
    if text.len() > limits::EVENT_BYTES {
        return Err(Refused::TooLarge.into());
    }
    if !text.trim_ascii_start().starts_with('{') {
        return Err(Refused::WrongType.into());
    }
    let mut fields = Fields::none();
    let mut verdict = Ok(());
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = Object { fields: &mut fields, verdict: &mut verdict }.deserialize(&mut reader).and_then(|()| reader.end());
    // What cannot be read as a whole has no fields to find fault with.
    read.map_err(|_| Refused::Unreadable)?;
    decode(&mut fields, verdict, context)
}

/// An array of at most `most` items; `None` when there are more, which are read on but not kept.
struct Array {
    most: usize,
}

impl<'de> DeserializeSeed<'de> for Array {
    type Value = Option<Vec<&'de RawValue>>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Array {
    type Value = Option<Vec<&'de RawValue>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = array.next_element()? {
            if items.len() == self.most {
                while array.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(None);
            }
            items.push(item);
        }
        Ok(Some(items))
    }
}

/// The object of one event. The first fault is noted in `verdict` and the rest is read all the same: the JSON may be broken behind it, and the site may
/// stand there.
struct Object<'f, 'a> {
    fields: &'f mut Fields<'a>,
    verdict: &'f mut Result<(), Refusal>,
}

impl<'a> DeserializeSeed<'a> for Object<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for Object<'_, 'a> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut object: A) -> Result<(), A::Error> {
        while let Some(name) = object.next_key_seed(KnownName)? {
            let value: &'a RawValue = object.next_value()?;
            let judged = match name {
                Some(Known::Props) => self.props(value),
                Some(name) => self.fields.put(name, sent(value)),
                None if nesting(value.get()) >= limits::JSON_DEPTH => Err(Refused::Unreadable.into()),
                None => self.fields.put_unknown(),
            };
            *self.verdict = self.verdict.and(judged);
        }
        Ok(())
    }
}

impl<'a> Object<'_, 'a> {
    fn props(&mut self, value: &'a RawValue) -> Result<(), Refusal> {
        let refused = |reason| Refusal::of(Known::Props.label(), reason);
        let text = value.get();
        self.fields.put(Known::Props, Sent::Nested)?;
        match text.as_bytes().first() {
            Some(b'{') => {}
            Some(b'n') => return Ok(()),
            _ => return Err(refused(Refused::WrongType)),
        }
        let mut verdict = Ok(());
        let properties = Properties { fields: self.fields, verdict: &mut verdict };
        // The grammar has been checked before; what is left to fail is a key that is no text.
        properties.deserialize(&mut serde_json::Deserializer::from_str(text)).map_err(|_| refused(Refused::Invalid))?;
        verdict
    }
}

/// The object of an event's properties, read as [`Object`] is.
struct Properties<'f, 'a> {
    fields: &'f mut Fields<'a>,
    verdict: &'f mut Result<(), Refusal>,
}

impl<'a> DeserializeSeed<'a> for Properties<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for Properties<'_, 'a> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut object: A) -> Result<(), A::Error> {
        while let Some(key) = object.next_key_seed(Key)? {
            let value: &'a RawValue = object.next_value()?;
            *self.verdict = self.fields.put_prop(key, sent(value));
            if self.verdict.is_err() {
                while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                break;
            }
        }
        Ok(())
    }
}

/// A key, as the field it names.
struct KnownName;

impl<'de> DeserializeSeed<'de> for KnownName {
    type Value = Option<Known>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for KnownName {
    type Value = Option<Known>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Known::find(key))
    }
}

/// A key, as it is.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

/// What kind of value it is, by its first byte: it is well-formed.
fn sent(value: &RawValue) -> Sent<'_> {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'"') => string(text),
        Some(b'{' | b'[') => Sent::Nested,
        Some(b'n') => Sent::Null,
        _ => Sent::Literal(text),
    }
}

/// A string with its quotes. Without an escape it is borrowed as it stands; with one it is read, and a lone surrogate is found.
fn string(quoted: &str) -> Sent<'_> {
    // Without an early exit many bytes are looked at at once, and texts are short.
    let escapes = quoted.bytes().fold(0, |found, byte| found | u8::from(byte == b'\\'));
    if escapes == 0 {
        return Sent::Text(Cow::Borrowed(&quoted[1..quoted.len() - 1]));
    }
    serde_json::from_str(quoted).map_or(Sent::Damaged, |text: String| Sent::Text(Cow::Owned(text)))
}

/// How many objects and arrays stand within each other in well-formed `text`.
fn nesting(text: &str) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}
