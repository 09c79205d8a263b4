//! What is known of one segment's delivery, and what follows from each thing that happens to it. Decisions only: nothing in this file waits, sends or
//! writes.
//!
//! | known | next |
//! |---|---|
//! | never sent | send |
//! | sent to the life of ClickHouse that is asked now | send again, under the same token, which that life remembers |
//! | sent to another life, or by a process before this one | ask what became of it |
//! | refused or damaged for good | ask, so that it is taken apart only if nothing of it is there |

use super::reconcile::Found;
use crate::limits::{SINK_PARK_TRIES, SINK_REFUSED_IN_A_ROW};
use crate::store::database::Incarnation;
use crate::store::errors::Class;

/// The last attempt, as far as a life of ClickHouse may have seen it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    /// None was made, or nothing came of it.
    None,
    /// An earlier process of ours may have made one.
    Unknown,
    /// The segment was sent to this life.
    Sent(Incarnation),
    /// The rollup is being filled from rows that an earlier life has; this life was asked to.
    Repairing(Incarnation),
}

/// What to do with a segment next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask the tables what they have of it.
    Ask,
    /// Insert it.
    Send,
    /// Fill the rollup from the rows that are there.
    Repair,
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happened {
    /// ClickHouse has done it.
    Taken,
    /// ClickHouse has not, or has not said so.
    Failed(Class),
    /// The segment's file cannot be read now.
    Unreadable,
    /// The segment's file does not match its checksums.
    Damaged,
    /// The tables have this of it.
    Found(Found),
}

/// Why a segment cannot go as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// Some of its rows are refused.
    Rows,
    /// Some of its bytes are damaged.
    Disk,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// This step, at once and over the same line.
    Then(Step),
    /// Whatever is next by then, after a pause.
    Again,
    /// ClickHouse has all of it.
    Confirm,
    /// ClickHouse has nothing of it, and never will as it is.
    TakeApart(Blame),
    /// It would hold up the others: look again later and go on with them.
    PutAside,
}

/// What the other segments of the table say about who is to blame for a refusal.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Others {
    /// Some were delivered since this one was first tried: so the database does take segments.
    pub(super) delivered: bool,
    /// How many were given up since one was last delivered.
    pub(super) refused_in_a_row: u32,
}

impl Others {
    /// Whether a refusal of this class is the segment's own fault. A code that means rows is believed at once, but not again and again while nothing
    /// else is delivered: a changed column speaks in the same codes. A code that nobody knows is believed only when others get through.
    fn leave_it_to_the_rows(self, class: Class) -> bool {
        match class {
            Class::Park => self.delivered || self.refused_in_a_row < SINK_REFUSED_IN_A_ROW,
            Class::Unknown => self.delivered,
            Class::Retry | Class::Hold => false,
        }
    }
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    attempt: Attempt,
    /// How often it was refused as it is.
    refusals: u32,
    blame: Option<Blame>,
}

impl Progress {
    /// Of a segment that this process has sealed.
    pub(super) fn fresh() -> Self {
        Self { attempt: Attempt::None, refusals: 0, blame: None }
    }

    /// Of a segment that an earlier process has left.
    pub(super) fn left_behind() -> Self {
        Self { attempt: Attempt::Unknown, ..Self::fresh() }
    }

    /// Of a part of a segment that was refused: once more is enough.
    pub(super) fn suspect() -> Self {
        Self { refusals: SINK_PARK_TRIES - 1, ..Self::fresh() }
    }

    /// What is next when this life of ClickHouse is at the other end.
    pub(super) fn step(&self, life: Incarnation) -> Step {
        match (self.blame, self.attempt) {
            (Some(_), _) => Step::Ask,
            (None, Attempt::None) => Step::Send,
            (None, Attempt::Sent(seen)) if seen == life => Step::Send,
            (None, Attempt::Repairing(seen)) if seen == life => Step::Repair,
            (None, Attempt::Unknown | Attempt::Sent(_) | Attempt::Repairing(_)) => Step::Ask,
        }
    }

    /// Notes that `step` is about to be taken with `life`, which will have seen it whatever comes of it.
    pub(super) fn begins(&mut self, step: Step, life: Incarnation) {
        match step {
            Step::Ask => {}
            Step::Send => self.attempt = Attempt::Sent(life),
            Step::Repair => self.attempt = Attempt::Repairing(life),
        }
    }

    /// Notes what came of `step`, and decides.
    pub(super) fn came(&mut self, step: Step, happened: Happened, others: Others) -> Verdict {
        let verdict = match (step, happened) {
            (Step::Send | Step::Repair, Happened::Taken) => Verdict::Confirm,
            (Step::Ask, Happened::Found(found)) => self.found(found),
            (Step::Send, Happened::Failed(class @ (Class::Park | Class::Unknown))) => self.refused(class, others),
            (Step::Repair, Happened::Failed(Class::Park | Class::Unknown)) => {
                // Its rows are in the table, so it can be neither parked nor taken apart.
                self.refusals += 1;
                if self.refusals < SINK_PARK_TRIES { Verdict::Again } else { Verdict::PutAside }
            }
            (_, Happened::Damaged) => {
                self.blame = Some(Blame::Disk);
                Verdict::Then(Step::Ask)
            }
            (_, Happened::Unreadable) => Verdict::PutAside,
            (_, Happened::Failed(_)) => Verdict::Again,
            // Neither is an answer to what was asked.
            (Step::Ask, Happened::Taken) | (Step::Send | Step::Repair, Happened::Found(_)) => Verdict::PutAside,
        };
        if verdict == Verdict::PutAside {
            *self = Self { refusals: self.refusals.min(SINK_PARK_TRIES - 1), ..Self::left_behind() };
        }
        verdict
    }

    fn found(&mut self, found: Found) -> Verdict {
        match (found, self.blame) {
            (Found::Nothing, Some(blame)) => Verdict::TakeApart(blame),
            (Found::Nothing, None) => Verdict::Then(Step::Send),
            (Found::RowsOnly, _) => {
                self.blame = None;
                Verdict::Then(Step::Repair)
            }
            (Found::Everything, _) => Verdict::Confirm,
            (Found::StillArriving, _) => Verdict::Again,
            (Found::Unexplained { .. }, _) => Verdict::PutAside,
        }
    }

    fn refused(&mut self, class: Class, others: Others) -> Verdict {
        self.refusals += 1;
        match () {
            () if self.refusals < SINK_PARK_TRIES => Verdict::Again,
            () if others.leave_it_to_the_rows(class) => {
                self.blame = Some(Blame::Rows);
                Verdict::Then(Step::Ask)
            }
            () => Verdict::PutAside,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Incarnation = Incarnation(1);
    const SECOND: Incarnation = Incarnation(2);
    const ALONE: Others = Others { delivered: false, refused_in_a_row: 0 };
    const AMONG_OTHERS: Others = Others { delivered: true, refused_in_a_row: 0 };
    const AFTER_MANY: Others = Others { delivered: false, refused_in_a_row: SINK_REFUSED_IN_A_ROW };

    fn tried(step: Step, life: Incarnation) -> Progress {
        let mut progress = Progress::fresh();
        progress.begins(step, life);
        progress
    }

    #[test]
    fn the_next_step_follows_from_who_may_have_seen_what() {
        for (what, progress, step) in [
            ("never sent", Progress::fresh(), Step::Send),
            ("left by an earlier process", Progress::left_behind(), Step::Ask),
            ("sent to this life", tried(Step::Send, FIRST), Step::Send),
            ("sent to another life", tried(Step::Send, SECOND), Step::Ask),
            ("repaired by this life", tried(Step::Repair, FIRST), Step::Repair),
            ("repaired by another life", tried(Step::Repair, SECOND), Step::Ask),
            ("a part of a refused one", Progress::suspect(), Step::Send),
        ] {
            assert_eq!(progress.step(FIRST), step, "{what}");
        }
    }

    #[test]
    fn each_answer_of_the_tables_has_its_consequence() {
        let unexplained = Found::Unexplained { rows: 1, rolled_up: 2 };
        for (found, fresh, blamed) in [
            (Found::Nothing, Verdict::Then(Step::Send), Verdict::TakeApart(Blame::Disk)),
            (Found::RowsOnly, Verdict::Then(Step::Repair), Verdict::Then(Step::Repair)),
            (Found::Everything, Verdict::Confirm, Verdict::Confirm),
            (Found::StillArriving, Verdict::Again, Verdict::Again),
            (unexplained, Verdict::PutAside, Verdict::PutAside),
        ] {
            let mut progress = Progress::left_behind();
            assert_eq!(progress.came(Step::Ask, Happened::Found(found), ALONE), fresh, "{found:?}");
            let mut progress = tried(Step::Send, FIRST);
            assert_eq!(progress.came(Step::Send, Happened::Damaged, ALONE), Verdict::Then(Step::Ask));
            assert_eq!(progress.came(Step::Ask, Happened::Found(found), ALONE), blamed, "{found:?} of a damaged one");
        }
    }

    #[test]
    fn each_failure_of_a_step_has_its_consequence() {
        for (step, happened, verdict) in [
            (Step::Send, Happened::Taken, Verdict::Confirm),
            (Step::Send, Happened::Failed(Class::Retry), Verdict::Again),
            (Step::Send, Happened::Failed(Class::Hold), Verdict::Again),
            (Step::Send, Happened::Unreadable, Verdict::PutAside),
            (Step::Repair, Happened::Taken, Verdict::Confirm),
            (Step::Repair, Happened::Failed(Class::Hold), Verdict::Again),
            (Step::Ask, Happened::Failed(Class::Park), Verdict::Again),
            (Step::Ask, Happened::Failed(Class::Unknown), Verdict::Again),
        ] {
            for _ in 0..10 {
                assert_eq!(tried(step, FIRST).came(step, happened, ALONE), verdict, "{step:?} {happened:?}");
            }
        }
    }

    /// What the last of as many refusals as it takes leads to.
    fn refused(class: Class, others: Others) -> Verdict {
        let mut progress = tried(Step::Send, FIRST);
        for _ in 1..SINK_PARK_TRIES {
            assert_eq!(progress.came(Step::Send, Happened::Failed(class), others), Verdict::Again);
        }
        progress.came(Step::Send, Happened::Failed(class), others)
    }

    #[test]
    fn rows_are_blamed_for_a_refusal_only_when_the_others_leave_no_doubt() {
        let ask = Verdict::Then(Step::Ask);
        for (class, others, verdict) in [
            (Class::Park, ALONE, ask),
            (Class::Park, AMONG_OTHERS, ask),
            (Class::Park, AFTER_MANY, Verdict::PutAside),
            (Class::Park, Others { delivered: true, ..AFTER_MANY }, ask),
            (Class::Unknown, ALONE, Verdict::PutAside),
            (Class::Unknown, AMONG_OTHERS, ask),
        ] {
            assert_eq!(refused(class, others), verdict, "{class:?} {others:?}");
        }
    }

    #[test]
    fn what_was_put_aside_is_asked_for_first_and_needs_one_refusal_more() {
        let mut progress = tried(Step::Send, FIRST);
        let unknown = Happened::Failed(Class::Unknown);
        while progress.came(Step::Send, unknown, ALONE) != Verdict::PutAside {}
        assert_eq!(progress.step(FIRST), Step::Ask);
        assert_eq!(progress.came(Step::Ask, Happened::Found(Found::Nothing), AMONG_OTHERS), Verdict::Then(Step::Send));
        assert_eq!(progress.came(Step::Send, unknown, AMONG_OTHERS), Verdict::Then(Step::Ask));
        assert_eq!(progress.came(Step::Ask, Happened::Found(Found::Nothing), AMONG_OTHERS), Verdict::TakeApart(Blame::Rows));
    }

    #[test]
    fn a_part_of_a_refused_segment_is_not_tried_as_often_again() {
        let mut progress = Progress::suspect();
        assert_eq!(progress.came(Step::Send, Happened::Failed(Class::Park), ALONE), Verdict::Then(Step::Ask));
    }

    #[test]
    fn a_rollup_that_cannot_be_filled_does_not_hold_up_the_others() {
        let mut progress = tried(Step::Repair, FIRST);
        let verdicts: Vec<_> = (0..SINK_PARK_TRIES).map(|_| progress.came(Step::Repair, Happened::Failed(Class::Park), ALONE)).collect();
        assert_eq!(verdicts.last(), Some(&Verdict::PutAside));
        assert!(verdicts[..verdicts.len() - 1].iter().all(|verdict| *verdict == Verdict::Again));
    }
}
