//! `/v1/events`: unpacking a batch's body, and cutting it into events: a JSON array, or NDJSON (one event a line).

use std::borrow::Cow;
use std::io::Read;
use std::vec;

use flate2::bufread::MultiGzDecoder;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::json;
use super::{Context, Decoded, Unread};
use crate::limits;
use crate::outcome::Refused;

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Not at all.
    Identity,
    /// gzip (RFC 1952).
    Gzip,
}

/// The body as it was before it was packed: at most [`limits::BATCH_DECODED_BYTES`]. Memory grows with what comes out, never with what a header promises.
/// Truncated or damaged input, and bytes behind its end, make it unreadable. `grow` is asked for room before any is taken, and may say no.
pub fn unpack(body: &[u8], coding: Coding, grow: impl FnMut(usize) -> bool) -> Result<Cow<'_, [u8]>, Refused> {
    match coding {
        Coding::Identity if body.len() > limits::BATCH_DECODED_BYTES => Err(Refused::TooLarge),
        Coding::Identity => Ok(Cow::Borrowed(body)),
        Coding::Gzip => inflate(body, grow).map(Cow::Owned),
    }
}

fn inflate(body: &[u8], mut grow: impl FnMut(usize) -> bool) -> Result<Vec<u8>, Refused> {
    const FIRST: usize = 64 * 1024;
    const MOST: usize = limits::BATCH_DECODED_BYTES;
    let mut decoder = MultiGzDecoder::new(body);
    let mut unpacked = Vec::new();
    let mut filled = 0;
    loop {
        if filled == unpacked.len() {
            if filled > MOST {
                return Err(Refused::TooLarge);
            }
            // One byte over the bound is room enough to see that there is more.
            let grown = (filled * 2).clamp(FIRST, MOST + 1);
            if !grow(grown - filled) {
                return Err(Refused::Unavailable);
            }
            unpacked.reserve_exact(grown - filled);
            unpacked.resize(grown, 0);
        }
        match decoder.read(&mut unpacked[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(_) => return Err(Refused::Unreadable),
        }
    }
    if filled > MOST {
        return Err(Refused::TooLarge);
    }
    unpacked.truncate(filled);
    Ok(unpacked)
}

/// The events of an unpacked body: an array of objects, an object a line, or one object. The body is refused as a whole when it is no array and no lines of objects, holds no event, or more than
/// [`limits::BATCH_EVENTS`]; anything else is a matter of the single event.
pub fn events<'a>(body: &'a [u8], context: &Context<'a>) -> Result<Events<'a>, Refused> {
    let items = match body.trim_ascii_start().first() {
        Some(b'[') => {
            let text = std::str::from_utf8(body).map_err(|_| Refused::Unreadable)?;
            Items::Listed(json::items(text, limits::BATCH_EVENTS)?.into_iter())
        }
        Some(b'{') if let Some(only) = single(body) => Items::Listed(vec![only].into_iter()),
        Some(b'{') if lines(body).nth(limits::BATCH_EVENTS).is_some() => return Err(Refused::TooLarge),
        Some(b'{') => Items::Lines(body),
        _ => return Err(Refused::Unreadable),
    };
    Ok(Events { items, context: *context })
}

/// The one object that the whole body is, written over several lines. A first line that is whole by itself says that it is NDJSON; where neither the line
/// nor the body is whole, it is NDJSON too, so that one damaged line costs no other.
fn single(body: &[u8]) -> Option<&RawValue> {
    let first = lines(body).next()?;
    if serde_json::from_slice::<IgnoredAny>(first).is_ok() {
        return None;
    }
    serde_json::from_slice(body).ok()
}

/// Events, decoded one by one as they are asked for, in the order sent.
pub struct Events<'a> {
    items: Items<'a>,
    context: Context<'a>,
}

enum Items<'a> {
    Listed(vec::IntoIter<&'a RawValue>),
    /// What is left of an NDJSON body.
    Lines(&'a [u8]),
}

impl<'a> Iterator for Events<'a> {
    type Item = Result<Decoded<'a>, Unread<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let text = match &mut self.items {
            Items::Listed(items) => Ok(items.next()?.get()),
            Items::Lines(rest) => {
                let (line, behind) = next_line(rest)?;
                *rest = behind;
                std::str::from_utf8(line).map_err(|_| Refused::Unreadable)
            }
        };
        Some(text.map_err(Unread::from).and_then(|text| json::event(text, &self.context)))
    }
}

fn lines(mut body: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (line, behind) = next_line(body)?;
        body = behind;
        Some(line)
    })
}

/// The next line that is not blank, and what stands behind it.
fn next_line(mut body: &[u8]) -> Option<(&[u8], &[u8])> {
    loop {
        if body.is_empty() {
            return None;
        }
        let end = body.iter().position(|byte| *byte == b'\n').unwrap_or(body.len());
        let (line, behind) = (body[..end].trim_ascii(), body.get(end + 1..).unwrap_or_default());
        if !line.is_empty() {
            return Some((line, behind));
        }
        body = behind;
    }
}
