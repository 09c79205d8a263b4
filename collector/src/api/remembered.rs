//! Answers of ClickHouse that are told again for as long as its tables hold what they were read from.
//!
//! A table is made of parts that never change: an insert, a merge, a closing, a deletion or a restore makes parts, or takes some away. So an answer is kept with the
//! parts that its statement could read, by their names and the hashes of what they hold, as they were *before* it was read; and each question first asks which parts there
//! are now. Are they the same, then so is the answer, to the last digit: it is the same statement with the same parameters, and nothing in it looks at a clock. Are they
//! not, it is asked anew. No time is involved, and no answer is older than the question that gets it.
//!
//! Of what is still open only the days that a statement names count: what arrives today leaves yesterday's answers as they are.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::plan::{Parameter, Plan};
use crate::clock::Day;
use crate::leak;
use crate::limits::{REMEMBERED_ANSWERS, REMEMBERED_BYTES};

/// Asks for the parts of all tables.
pub(super) const PARTS: &str =
    "SELECT table, partition, name, hash_of_all_files FROM system.parts WHERE database = currentDatabase() AND active";

/// The tables of open days, a partition of each of which is one day of one zone.
const OF_OPEN_DAYS: &[&str] = &["events", "rollup_open", "sessions"];

/// A part of a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(super) struct Part {
    table: String,
    partition: String,
    name: String,
    /// A hash of all that it holds. Names alone may come again after a partition was dropped and the server started anew.
    contents: String,
}

/// What all tables held at a moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Parts(Vec<Part>);

/// What the tables of a statement held at a moment.
pub(super) type Held = [u8; 32];

impl Parts {
    /// The parts as they were listed.
    pub(super) fn of(mut parts: Vec<Part>) -> Self {
        parts.sort_unstable();
        Self(parts)
    }

    /// The days of a zone of which a table of open days holds anything.
    pub(super) fn open_days(&self, zone: &str) -> BTreeSet<Day> {
        let of_zone =
            |part: &Part| part.partition.strip_prefix("('")?.strip_suffix("')")?.strip_prefix(zone)?.strip_prefix("','")?.parse().ok();
        self.0.iter().filter(|part| OF_OPEN_DAYS.contains(&&*part.table)).filter_map(of_zone).collect()
    }

    /// The first day of which the rollup of open days holds anything, whatever the zone.
    pub(super) fn first_open_day(&self) -> Option<Day> {
        let day = |part: &Part| part.partition.strip_suffix("')")?.rsplit('\'').next()?.parse().ok();
        self.0.iter().filter(|part| part.table == "rollup_open").filter_map(day).min()
    }

    /// Of the tables that `plan` names, and of open days those that it asks for.
    fn behind(&self, plan: &Plan) -> Held {
        let open = plan.parameters.iter().find_map(|(name, value)| match value {
            Parameter::Texts(days) if name == "open" => Some(&**days),
            Parameter::Text(_) | Parameter::Texts(_) | Parameter::Number(_) | Parameter::Numbers(_) => None,
        });
        // A column may be called like a table: what is read stands behind FROM.
        self.held(|table| plan.sql.contains(&format!("FROM {table}")), open, &[])
    }

    /// Of the tables that are read, and of open days those of `open`, if they are told; with whatever else an answer hangs on.
    pub(super) fn held(&self, is_read: impl Fn(&str) -> bool, open: Option<&[String]>, besides: &[u8]) -> Held {
        // A partition is written `('Europe/Berlin','2026-11-22')`.
        let is_asked_for = |part: &Part| {
            !OF_OPEN_DAYS.contains(&&*part.table) || open.is_none_or(|days| days.iter().any(|day| part.partition.contains(&**day)))
        };
        let mut hash = Sha256::new();
        let parts = if leak::planted("parts_overlooked") { &[] } else { &*self.0 };
        for part in parts.iter().filter(|part| is_read(&part.table) && is_asked_for(part)) {
            for text in [&part.table, &part.partition, &part.name, &part.contents] {
                hash.update(text.len().to_le_bytes());
                hash.update(text);
            }
        }
        hash.update(besides);
        hash.finalize().into()
    }
}

/// The answers that are kept.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    answers: Mutex<Answers>,
}

#[derive(Debug, Default)]
struct Answers {
    known: HashMap<Plan, (Held, Bytes)>,
    /// Of all answers together.
    bytes: usize,
}

impl Remembered {
    /// The answer of `plan`, if it is known and the tables are as they were.
    pub(super) fn answer(&self, plan: &Plan, parts: &Parts) -> Option<Bytes> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.known.get(plan).filter(|(held, _)| *held == parts.behind(plan)).map(|(_, answer)| answer.clone())
    }

    /// Keeps `answer`, of a run that began after the tables held `parts`.
    pub(super) fn keep(&self, plan: &Plan, parts: &Parts, answer: Bytes) {
        if answer.len() > REMEMBERED_BYTES / 8 {
            return;
        }
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, old)) = answers.known.remove(plan) {
            answers.bytes -= old.len();
        }
        // What is asked again and again is there again at once.
        if answers.bytes + answer.len() > REMEMBERED_BYTES || answers.known.len() >= REMEMBERED_ANSWERS {
            *answers = Answers::default();
        }
        answers.bytes += answer.len();
        answers.known.insert(plan.clone(), (parts.behind(plan), answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SQL: &str = "SELECT events, sum(sessions) FROM rollup_open UNION ALL SELECT 1 FROM rollup_closed";

    fn part(table: &str, partition: &str, name: &str, contents: &str) -> Part {
        Part { table: table.to_owned(), partition: partition.to_owned(), name: name.to_owned(), contents: contents.to_owned() }
    }

    fn parts() -> Vec<Part> {
        vec![
            part("rollup_closed", "('UTC',202611)", "a_1_1_0", "11"),
            part("rollup_open", "('UTC','2026-11-21')", "b_1_1_0", "22"),
            part("rollup_open", "('UTC','2026-11-22')", "c_1_1_0", "33"),
            part("sessions", "('UTC','2026-11-21')", "d_1_1_0", "44"),
        ]
    }

    fn plan(sql: &str, open: &[&str]) -> Plan {
        let days = open.iter().map(ToString::to_string).collect();
        Plan { sql: sql.to_owned(), parameters: vec![("open".to_owned(), Parameter::Texts(days))] }
    }

    #[test]
    fn an_answer_is_told_again_until_a_table_that_it_was_read_from_holds_something_else() {
        let plan = plan(SQL, &["2026-11-21"]);
        let mut changed: Vec<(&str, Vec<Part>, bool)> = vec![("nothing", parts(), true)];
        let mut more = parts();
        more.push(part("rollup_open", "('UTC','2026-11-21')", "b_2_2_0", "55"));
        changed.push(("an insert into its day", more, false));
        let mut other = parts();
        other[0].contents = "12".to_owned();
        changed.push(("a part of the same name that holds something else", other, false));
        let mut other = parts();
        other.remove(1);
        changed.push(("a day that was dropped", other, false));
        let mut other = parts();
        other.push(part("rollup_open", "('UTC','2026-11-22')", "c_2_2_0", "66"));
        changed.push(("an insert into another day", other, true));
        let mut other = parts();
        other.pop();
        changed.push(("a table that it does not name", other, true));
        let is_told_again = |now: &[Part]| {
            let remembered = Remembered::default();
            remembered.keep(&plan, &Parts::of(parts()), Bytes::from_static(b"[1]"));
            remembered.answer(&plan, &Parts::of(now.to_vec())).is_some()
        };
        for (what, now, is_known) in changed {
            assert_eq!(is_told_again(&now), is_known, "{what}");
            assert!(leak::here::with("parts_overlooked", || is_told_again(&now)), "the control: {what}");
        }
    }

    #[test]
    fn other_parameters_are_another_question_and_without_days_every_day_counts() {
        let remembered = Remembered::default();
        let all = Plan { parameters: Vec::new(), ..plan(SQL, &[]) };
        remembered.keep(&all, &Parts::of(parts()), Bytes::from_static(b"[1]"));
        assert!(remembered.answer(&plan(SQL, &["2026-11-21"]), &Parts::of(parts())).is_none());
        let mut more = parts();
        more.push(part("rollup_open", "('UTC','2026-11-23')", "e_1_1_0", "77"));
        assert!(remembered.answer(&all, &Parts::of(more)).is_none());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let remembered = Remembered::default();
        let parts = Parts::of(parts());
        for number in 0..=REMEMBERED_ANSWERS {
            remembered.keep(&plan(&format!("SELECT {number}"), &[]), &parts, Bytes::from_static(b"[1]"));
        }
        assert_eq!(remembered.answers.lock().unwrap().known.len(), 1, "one too many: the rest is forgotten");
        remembered.keep(&plan("SELECT large", &[]), &parts, Bytes::from(vec![b' '; REMEMBERED_BYTES / 8 + 1]));
        assert!(remembered.answer(&plan("SELECT large", &[]), &parts).is_none());
        for number in 0..9 {
            remembered.keep(&plan(&format!("SELECT {number}"), &[]), &parts, Bytes::from(vec![b' '; REMEMBERED_BYTES / 8]));
        }
        let answers = remembered.answers.lock().unwrap();
        assert!(answers.bytes <= REMEMBERED_BYTES);
        assert_eq!(answers.bytes, answers.known.values().map(|(_, answer)| answer.len()).sum::<usize>());
    }
}
