//! What a run of one measurement is made of: it is warmed up first, and only what lies between two marks counts.
//!
//! Under callgrind the marks are functions that it is told to look for: at [`begin`] it sets its counters to zero, after [`end`] it writes them out.

use std::future::poll_fn;
use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll};

use headcount::server::Answer;
use headcount::worker::Worker;

use crate::{AT_ONCE, Fault, Form, Stage, Stages};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// The path up to and with a stage.
    UpTo(Stage),
    /// The whole worker with its log, from an arrival to its answer.
    Worker,
}

impl Measure {
    /// Its name in tables.
    pub fn label(self) -> &'static str {
        match self {
            Self::UpTo(stage) => stage.label(),
            Self::Worker => "worker",
        }
    }

    /// Everything that is measured, in its order.
    pub fn all() -> impl Iterator<Item = Self> {
        Stage::ALL.into_iter().map(Self::UpTo).chain([Self::Worker])
    }
}

/// From here on it counts.
#[inline(never)]
pub fn begin() {
    black_box(1);
}

/// Up to here it counted.
#[inline(never)]
pub fn end() {
    black_box(2);
}

/// Runs `measure` over `requests` requests, twice: the first time warms up, the second lies between the marks. `at_mark` is called at both.
pub fn run(stages: &Stages, measure: Measure, requests: usize, mut at_mark: impl FnMut()) -> Result<(), Fault> {
    let mut marked = || {
        begin();
        at_mark();
    };
    match measure {
        Measure::UpTo(stage) => {
            let log = stages.log();
            stages.run(stage, &log, requests);
            marked();
            stages.run(stage, &log, requests);
        }
        Measure::Worker => stages.with_worker(async |worker| answer_twice(stages, worker, requests, marked).await)?,
    }
    at_mark();
    end();
    Ok(())
}

/// As many requests at a time as wait for one commit; of batches one. Each connection of a server has one place for the answer it works on, and so it is here.
async fn answer_twice(stages: &Stages, worker: &Worker, requests: usize, marked: impl FnOnce()) {
    let at_once = match stages.form() {
        Form::Single => AT_ONCE,
        Form::Batch => 1,
    };
    let mut places: Vec<_> = (0..at_once).map(|_| Box::pin(None)).collect();
    let mut marked = Some(marked);
    for first in (0..2 * requests).step_by(at_once) {
        if first >= requests
            && let Some(marked) = marked.take()
        {
            marked();
        }
        for (number, place) in (first..).zip(&mut places) {
            place.set(Some(stages.answer(worker, number)));
        }
        poll_fn(|context| poll_all(&mut places, context)).await;
    }
}

/// Ready once nobody waits for an answer any more.
fn poll_all<F: Future<Output = Answer>>(places: &mut [Pin<Box<Option<F>>>], context: &mut Context<'_>) -> Poll<()> {
    let mut all = Poll::Ready(());
    for place in places {
        if let Some(answer) = place.as_mut().as_pin_mut() {
            match answer.poll(context) {
                Poll::Pending => all = Poll::Pending,
                Poll::Ready(answer) => {
                    assert!(matches!(answer, Answer::Taken(_) | Answer::Judged(_)), "a request is not taken");
                    place.set(None);
                }
            }
        }
    }
    all
}
