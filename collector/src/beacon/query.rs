//! The pixel's query string -> one event. The same fields under the same names, form-encoded; a property is `p.KEY=VALUE`; flags are `1`, `0`, `true`, `false`.
//!
//! `/e.gif?site=example.org&url=https%3A%2F%2Fexample.org%2Fpricing&p.plan=team`

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::decode::decode;
use super::field::{Fields, Known, Sent};
use super::{Context, Decoded, Unread};
use crate::limits;
use crate::outcome::{Refusal, Refused};

/// What stands before a property's key.
const PROPERTY: &str = "p.";

/// The event of a `GET /e.gif`, from what stands behind the `?`.
pub fn event<'a>(query: &'a str, context: &Context<'a>) -> Result<Decoded<'a>, Unread<'a>> {
    if query.len() > limits::TARGET_BYTES {
        return Err(Refused::TooLarge.into());
    }
    let mut fields = Fields::none();
    let mut verdict = Ok(());
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let Some(name) = decoded(name) else {
            verdict = verdict.and(Err(Refused::Unreadable.into()));
            continue;
        };
        let value = decoded(value).map_or(Sent::Damaged, Sent::Word);
        let judged = match (Known::find(&name), without_prefix(name)) {
            (Some(Known::Props), _) => Err(Refusal::of(Known::Props.label(), Refused::WrongType)),
            (Some(name), _) => fields.put(name, value),
            (None, Some(key)) => fields.put_prop(key, value),
            (None, None) => fields.put_unknown(),
        };
        verdict = verdict.and(judged);
    }
    decode(&mut fields, verdict, context)
}

fn without_prefix(name: Cow<'_, str>) -> Option<Cow<'_, str>> {
    match name {
        Cow::Borrowed(name) => name.strip_prefix(PROPERTY).map(Cow::Borrowed),
        Cow::Owned(name) => name.strip_prefix(PROPERTY).map(|key| Cow::Owned(key.to_owned())),
    }
}

/// `part` without its escapes (WHATWG URL, application/x-www-form-urlencoded); `None` when they are not UTF-8.
fn decoded(part: &str) -> Option<Cow<'_, str>> {
    if part.contains('+') {
        let spaced = part.replace('+', " ");
        return percent_decode_str(&spaced).decode_utf8().ok().map(|text| Cow::Owned(text.into_owned()));
    }
    percent_decode_str(part).decode_utf8().ok()
}
