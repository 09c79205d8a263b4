//! What was read and is kept, as long as the tables hold what it was read from, within a bound.
//!
//! Of those who want the same at a time one reads it, and the others wait. What was begun after a question came is never too old for it, whatever has
//! arrived since; what was begun before is as good as new if the tables still hold what they held then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Group;
use crate::api::question::{Days, Interval};
use crate::api::remembered::Held;
use crate::clock::Day;

/// The order in which questions come and readings begin.
pub(in crate::api) type Turn = u64;

/// What is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::api) struct Key {
    pub(in crate::api) zone: String,
    pub(in crate::api) site: String,
    /// How many visitors a cell must have to be named, or entries where nobody has an id.
    pub(in crate::api) threshold: u64,
    pub(in crate::api) of: Of,
    pub(in crate::api) group: Group,
}

/// Which days it is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::api) enum Of {
    /// Open days, as cells that are folded.
    OpenDays(Vec<Day>),
    /// Visits of open days, as they are.
    Visits(Vec<Day>),
    /// Those of the range that are closed, in parts.
    ClosedDays(Days, Option<Interval>),
    /// The whole site, on every day that it has.
    WholeSite,
}

/// What is kept, by its key.
#[derive(Debug)]
pub(in crate::api) struct Kept<Value> {
    known: Mutex<Known<Value>>,
    reading: Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>,
    bytes_max: usize,
}

#[derive(Debug)]
struct Known<Value> {
    values: HashMap<Key, Entry<Value>>,
    /// Of all values together.
    bytes: usize,
}

#[derive(Debug)]
struct Entry<Value> {
    /// What the tables held before it was read; nothing if that is not known.
    held: Option<Held>,
    begun: Turn,
    value: Arc<Value>,
    bytes: usize,
}

impl<Value> Kept<Value> {
    /// Nothing yet, and never more than `bytes_max`.
    pub(in crate::api) fn within(bytes_max: usize) -> Self {
        Self { known: Mutex::new(Known { values: HashMap::new(), bytes: 0 }), reading: Mutex::default(), bytes_max }
    }

    /// What is known under `key`, for a question that came at `asked`, when the tables hold `held`.
    pub(in crate::api) fn find(&self, key: &Key, held: Option<&Held>, asked: Turn) -> Option<Arc<Value>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_good = |entry: &&Entry<Value>| entry.begun > asked || held.is_some_and(|held| entry.held.as_ref() == Some(held));
        known.values.get(key).filter(is_good).map(|entry| Arc::clone(&entry.value))
    }

    /// Keeps a value of so many bytes that was read from `begun` on, from what the tables held before.
    pub(in crate::api) fn keep(&self, key: &Key, (held, begun): (Option<Held>, Turn), value: &Arc<Value>, bytes: usize) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = known.values.remove(key) {
            known.bytes -= old.bytes;
        }
        let bytes = bytes + size_of::<(Key, Entry<Value>)>() + key.zone.len() + key.site.len();
        // One that is too large would drive out all others.
        if bytes > self.bytes_max / 3 {
            return;
        }
        // What is asked again and again is there again at once.
        if known.bytes + bytes > self.bytes_max {
            *known = Known { values: HashMap::new(), bytes: 0 };
        }
        known.bytes += bytes;
        known.values.insert(key.clone(), Entry { held, begun, value: Arc::clone(value), bytes });
    }

    /// Who holds this reads what is kept under `key`.
    pub(in crate::api) fn reading(&self, key: &Key) -> Arc<tokio::sync::Mutex<()>> {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        // Of what nobody reads or waits for any more only this map has a hold.
        reading.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(reading.entry(key.clone()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::cells::Told;

    const HELD: Held = [1; 32];

    fn key(site: &str) -> Key {
        let group = Group::One("page", Told::Events);
        Key { zone: "UTC".to_owned(), site: site.to_owned(), threshold: 5, of: Of::OpenDays(vec![Day(1)]), group }
    }

    #[test]
    fn what_is_kept_is_good_for_who_came_before_it_was_begun_and_while_the_tables_hold_the_same() {
        let kept = Kept::within(64 * 1024);
        kept.keep(&key("a"), (Some(HELD), 5), &Arc::new(7), 8);
        let found = |held: Option<Held>, asked| kept.find(&key("a"), held.as_ref(), asked).map(|value| *value);
        for (what, held, asked, expected) in [
            ("the tables are as they were", Some(HELD), 9, Some(7)),
            ("they are not", Some([2; 32]), 9, None),
            ("they are not, but it was begun after the question had come", Some([2; 32]), 4, Some(7)),
            ("nobody knows what they hold", None, 9, None),
            ("nobody knows, but it was begun after the question had come", None, 4, Some(7)),
        ] {
            assert_eq!(found(held, asked), expected, "{what}");
        }
        assert!(kept.find(&Key { threshold: 4, ..key("a") }, Some(&HELD), 9).is_none(), "another threshold");
        kept.keep(&key("b"), (None, 5), &Arc::new(8), 8);
        assert!(kept.find(&key("b"), None, 9).is_none(), "what is not known is like nothing");
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let kept = Kept::within(64 * 1024);
        kept.keep(&key("large"), (Some(HELD), 1), &Arc::new(0), 24 * 1024);
        assert!(kept.find(&key("large"), Some(&HELD), 9).is_none(), "one that is too large is not kept");
        for number in 0..100 {
            kept.keep(&key(&number.to_string()), (Some(HELD), 1), &Arc::new(number), 8 * 1024);
            let known = kept.known.lock().unwrap();
            assert!(known.bytes <= 64 * 1024);
            assert_eq!(known.bytes, known.values.values().map(|entry| entry.bytes).sum::<usize>());
        }
        assert!(kept.find(&key("99"), Some(&HELD), 9).is_some() && kept.find(&key("0"), Some(&HELD), 9).is_none());
    }

    #[tokio::test]
    async fn one_reads_and_the_others_wait_and_nothing_is_left_of_it() {
        let kept: Kept<u8> = Kept::within(64 * 1024);
        let first = kept.reading(&key("a"));
        let reading = first.lock().await;
        let second = kept.reading(&key("a"));
        assert!(second.try_lock().is_err() && kept.reading(&key("b")).try_lock().is_ok(), "another is not waited for");
        drop(reading);
        assert!(second.try_lock().is_ok());
        drop((first, second));
        assert!(kept.reading(&key("c")).try_lock().is_ok());
        assert_eq!(kept.reading.lock().unwrap().len(), 1);
    }
}
