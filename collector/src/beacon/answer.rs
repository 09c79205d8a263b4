//! The answer to a batch: `{"accepted":n,"dropped":{"reason":n},"rejected":[{"index":i,"field":"name","reason":"too_long"}]}`.
//!
//! Made of numbers and of names from closed lists: nothing of the input can be in it. `accepted` counts what is stored, now or before: a retry is told the
//! same as the first try was. How many of those were stored before stands in `duplicates`, and `duplicate` is true when all were; neither is there when
//! none was. `unlisted` is there when more events were refused than [`limits::REFUSALS_LISTED`].

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::limits;
use crate::outcome::{Accepted, Dropped, Field, Outcome, Refused, Rejection};

/// What became of a batch's events, added up one by one in the order sent.
#[derive(Debug, Default, Serialize)]
pub struct Answer {
    accepted: u32,
    #[serde(skip_serializing_if = "is_false")]
    duplicate: bool,
    #[serde(skip_serializing_if = "is_zero")]
    duplicates: u32,
    dropped: DroppedCounts,
    rejected: Vec<Rejected>,
    #[serde(skip_serializing_if = "is_zero")]
    unlisted: u32,
    #[serde(skip)]
    events: u32,
}

/// What became of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is stored.
    Accepted(Accepted),
    /// It was stored before, or stands earlier in the same request.
    Duplicate,
    /// It goes no further.
    Rejected(Rejection),
}

impl Verdict {
    /// The outcome to count.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Accepted(accepted) => Outcome::Accepted(accepted),
            Self::Duplicate => Outcome::Duplicate,
            Self::Rejected(rejection) => rejection.outcome(),
        }
    }
}

#[derive(Debug, Serialize)]
struct Rejected {
    index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<Field>,
    reason: Refused,
}

#[derive(Debug, Default)]
struct DroppedCounts([u32; Dropped::ALL.len()]);

impl Answer {
    /// Adds the verdict on the next event.
    pub fn add(&mut self, verdict: Verdict) {
        let index = self.events;
        self.events += 1;
        match verdict {
            Verdict::Accepted(Accepted::Pseudonymous | Accepted::Anonymous) => self.accepted += 1,
            Verdict::Duplicate => {
                self.accepted += 1;
                self.duplicates += 1;
            }
            Verdict::Rejected(Rejection::Dropped(reason)) => self.dropped.0[reason as usize] += 1,
            Verdict::Rejected(Rejection::Refused(_)) if self.rejected.len() == limits::REFUSALS_LISTED => self.unlisted += 1,
            Verdict::Rejected(Rejection::Refused(refusal)) => {
                self.rejected.push(Rejected { index, field: refusal.field, reason: refusal.reason });
            }
        }
        self.duplicate = self.duplicates > 0 && self.duplicates == self.accepted;
    }

    /// Whether there were events, and every one of them was refused.
    pub fn is_all_refused(&self) -> bool {
        self.events > 0 && self.rejected.len() + self.unlisted as usize == self.events as usize
    }

    /// The answer's body.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers and constant names always serialise, and memory does not fail")
    }
}

impl Serialize for DroppedCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (reason, count) in Dropped::ALL.iter().zip(self.0).filter(|(_, count)| *count > 0) {
            map.serialize_entry(reason.label(), &count)?;
        }
        map.end()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Refusal;

    #[test]
    fn an_answer_counts_and_lists() {
        let mut answer = Answer::default();
        answer.add(Verdict::Accepted(Accepted::Anonymous));
        answer.add(Verdict::Rejected(Refusal::of("name", Refused::TooLong).into()));
        answer.add(Verdict::Rejected(Dropped::DoNotTrack.into()));
        answer.add(Verdict::Rejected(Refused::Unreadable.into()));
        answer.add(Verdict::Accepted(Accepted::Pseudonymous));
        assert!(!answer.is_all_refused());
        assert_eq!(
            String::from_utf8(answer.to_json()).unwrap(),
            r#"{"accepted":2,"dropped":{"dnt":1},"rejected":[{"index":1,"field":"name","reason":"too_long"},{"index":3,"reason":"unreadable"}]}"#
        );
        answer.add(Verdict::Duplicate);
        assert!(String::from_utf8(answer.to_json()).unwrap().starts_with(r#"{"accepted":3,"duplicates":1,"dropped""#));
    }

    #[test]
    fn a_batch_that_was_stored_before_says_so_and_accepts_as_many_as_before() {
        let mut answer = Answer::default();
        for verdict in [Verdict::Duplicate, Verdict::Rejected(Dropped::DoNotTrack.into()), Verdict::Duplicate] {
            answer.add(verdict);
        }
        let json = r#"{"accepted":2,"duplicate":true,"duplicates":2,"dropped":{"dnt":1},"rejected":[]}"#;
        assert_eq!(String::from_utf8(answer.to_json()).unwrap(), json);
        answer.add(Verdict::Accepted(Accepted::Anonymous));
        assert!(String::from_utf8(answer.to_json()).unwrap().starts_with(r#"{"accepted":3,"duplicates":2,"dropped""#));
    }

    #[test]
    fn the_list_of_refusals_is_bounded_and_the_rest_is_counted() {
        let mut answer = Answer::default();
        for _ in 0..limits::BATCH_EVENTS {
            answer.add(Verdict::Rejected(Refusal::of("device_model", Refused::SecretRequired).into()));
        }
        assert!(answer.is_all_refused());
        let body = answer.to_json();
        assert!(body.len() < 80 * 1024, "{}", body.len());
        let unlisted = format!("\"unlisted\":{}", limits::BATCH_EVENTS - limits::REFUSALS_LISTED);
        assert!(String::from_utf8(body).unwrap().contains(&unlisted));
    }

    #[test]
    fn an_empty_answer_is_not_all_refused() {
        assert!(!Answer::default().is_all_refused());
    }
}
