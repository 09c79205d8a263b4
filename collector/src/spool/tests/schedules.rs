//! Every order of what happens in a group commit: on the worker's one thread, and at the place where worker and sync thread meet. Worker and receipts are
//! only looked at when somebody has woken them.

use std::time::Duration;

use super::super::disk::simulated::{Call, Disk, IO_ERROR, Survivors, Unsynced};
use super::rig::{Happened, Lane, Rig, small, start};
use super::story::{Excused, found, judge};
use crate::leak;

/// What can happen next on the worker's thread, or beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A request comes, for two days, or with nothing that is to be stored.
    Request,
    RequestOfNothing,
    /// Whoever was woken looks.
    Poll,
    /// The sync thread takes a commit.
    Serve,
    /// The same, and the disk fails.
    ServeAndFail,
    /// Segments become due.
    Due,
    /// The log is told to end.
    Close,
}

const STEPS: [Step; 7] = [Step::Request, Step::RequestOfNothing, Step::Poll, Step::Serve, Step::ServeAndFail, Step::Due, Step::Close];

/// Plays the steps, lets everything come to rest, and loses power.
fn play(steps: &[Step]) -> Result<(), String> {
    let disk = Disk::new();
    let mut rig = Rig::start(&disk, small(), Vec::new()).map_err(|broken| format!("{broken:?}"))?;
    for step in steps {
        match step {
            Step::Request => {
                rig.request(&[(Lane::Today, 1), (Lane::Yesterday, 1)]);
            }
            Step::RequestOfNothing => {
                rig.request(&[]);
            }
            Step::Poll => rig.poll(),
            Step::Serve => {
                rig.serve();
            }
            Step::ServeAndFail => {
                disk.order(Call::Sync, 0, IO_ERROR);
                rig.serve();
                disk.forgive();
            }
            Step::Due => rig.log.set_segment_age(Duration::ZERO),
            Step::Close => rig.log.close(),
        }
    }
    rig.go();
    let story = std::mem::take(&mut rig.story);
    drop(rig);
    let answers = story.iter().filter(|happened| matches!(happened, Happened::Kept(_) | Happened::Refused(_))).count();
    let requests = story.iter().filter(|happened| matches!(happened, Happened::Taken(..))).count();
    if answers != requests {
        return Err(format!("{answers} answers to {requests} requests"));
    }
    disk.record();
    let moment = disk.moments().pop().ok_or("no moment")?;
    let after = moment.after_crash(Survivors { content: Unsynced::Lost, names: Unsynced::Lost, seed: 0 });
    let (_spool, recovered) = start(&after, small()).map_err(|broken| format!("{broken:?}"))?;
    judge(&story, found(&story, &recovered.sealed, &after)?, &Excused::default())
}

/// All sequences of so many steps.
fn sequences(length: usize) -> impl Iterator<Item = Vec<Step>> {
    let count = STEPS.len().pow(u32::try_from(length).unwrap());
    (0..count).map(move |mut number| {
        let step = |_| {
            let step = STEPS[number % STEPS.len()];
            number /= STEPS.len();
            step
        };
        (0..length).map(step).collect()
    })
}

#[test]
fn in_every_order_of_four_steps_each_request_is_answered_and_no_2xx_comes_before_its_commit() {
    for steps in sequences(4) {
        play(&steps).unwrap_or_else(|fault| panic!("{steps:?}: {fault}"));
    }
}

#[test]
fn an_order_in_which_an_answer_comes_early_or_never_is_found() {
    for (taken_out, found) in [("answered_before_sync", "lost"), ("wakeup_lost", "answers to")] {
        leak::here::with(taken_out, || {
            let is_found = |steps: Vec<Step>| play(&steps).is_err_and(|fault| fault.contains(found));
            assert!(sequences(3).any(is_found), "{taken_out} is found");
        });
    }
}
