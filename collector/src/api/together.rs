//! Statements that are wanted by several questions at the same time, and are put to ClickHouse once.
//!
//! A page asks half a dozen questions at once, and each needs to know which days are closed, since when the site has figures, and what it has altogether: the
//! same statement with the same parameters. So of equal statements one runs at a time, and whoever wants it meanwhile gets the answer of the *next* run, together with
//! all others who wait for it. Nothing is remembered: no answer is older than the question that gets it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OnceCell, Semaphore};

use super::plan::Plan;
use super::refusal::Refusal;

/// The statements that are wanted now, and will have an `Answer`.
#[derive(Debug, Default)]
pub(super) struct Together<Answer> {
    wanted: Mutex<HashMap<Plan, Wanted<Answer>>>,
}

/// A statement while anybody wants it.
#[derive(Debug)]
struct Wanted<Answer> {
    /// Whoever runs it holds this.
    turn: Arc<Semaphore>,
    /// The answer of the run that has not begun yet.
    next: Arc<OnceCell<Result<Answer, Refusal>>>,
}

impl<Answer> Default for Wanted<Answer> {
    fn default() -> Self {
        Self { turn: Arc::new(Semaphore::new(1)), next: Arc::default() }
    }
}

impl<Answer: Clone> Together<Answer> {
    /// The answer of `plan`, from a run of `ask` that begins after this was called.
    pub(super) async fn answer<Asking>(&self, plan: &Plan, ask: impl FnOnce() -> Asking) -> Result<Answer, Refusal>
    where
        Asking: Future<Output = Result<Answer, Refusal>>,
    {
        let Wanted { turn, next } = self.joined(plan);
        let run = async {
            let _turn = turn.acquire().await;
            // Whoever comes from here on has come too late for this run.
            self.begun(plan, &next);
            ask().await
        };
        // Should the one who runs it go away, another who waits runs it instead.
        next.get_or_init(|| run).await.clone()
    }

    fn joined(&self, plan: &Plan) -> Wanted<Answer> {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        // Of what nobody waits for any more only this map has a hold.
        wanted.retain(|_, wanted| Arc::strong_count(&wanted.turn) > 1);
        let Wanted { turn, next } = wanted.entry(plan.clone()).or_default();
        Wanted { turn: Arc::clone(turn), next: Arc::clone(next) }
    }

    fn begun(&self, plan: &Plan, run: &Arc<OnceCell<Result<Answer, Refusal>>>) {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wanted) = wanted.get_mut(plan).filter(|wanted| Arc::ptr_eq(&wanted.next, run)) {
            wanted.next = Arc::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::sync::Notify;

    use super::*;
    use crate::api::refusal::Reason;

    fn plan(sql: &str) -> Plan {
        Plan { sql: sql.to_owned(), parameters: Vec::new() }
    }

    /// Runs that are counted, and end when they are let go.
    #[derive(Default)]
    struct Runs {
        begun: Cell<u64>,
        go: Notify,
    }

    impl Runs {
        async fn run(&self) -> Result<u64, Refusal> {
            self.begun.set(self.begun.get() + 1);
            let number = self.begun.get();
            self.go.notified().await;
            Ok(number)
        }
    }

    #[tokio::test]
    async fn whoever_asks_while_the_same_is_asked_gets_the_next_answer_with_all_others() {
        let (together, runs, other) = (Together::default(), Runs::default(), plan("other"));
        let same = plan("same");
        let ask = |plan| together.answer(plan, || runs.run());
        let mut first = std::pin::pin!(ask(&same));
        assert!(polled(first.as_mut()).await.is_none());
        let mut late: Vec<_> = (0..5).map(|_| Box::pin(ask(&same))).collect();
        for late in &mut late {
            assert!(polled(late.as_mut()).await.is_none());
        }
        assert_eq!(runs.begun.get(), 1, "one at a time");
        let mut unlike = std::pin::pin!(ask(&other));
        assert!(polled(unlike.as_mut()).await.is_none());
        assert_eq!(runs.begun.get(), 2, "another statement does not wait");
        runs.go.notify_one();
        assert_eq!(first.await.unwrap(), 1);
        // The one who would run it goes away: another does.
        drop(late.remove(0));
        assert!(polled(late[0].as_mut()).await.is_none());
        assert_eq!(runs.begun.get(), 3, "one run for all who waited");
        runs.go.notify_waiters();
        for late in late {
            assert_eq!(late.await.unwrap(), 3);
        }
        assert_eq!(unlike.await.unwrap(), 2);
        let mut fresh = std::pin::pin!(ask(&same));
        assert!(polled(fresh.as_mut()).await.is_none());
        assert_eq!(runs.begun.get(), 4, "nothing is remembered");
        assert_eq!(together.wanted.lock().unwrap().len(), 1, "nobody wants the other any more");
    }

    #[tokio::test]
    async fn whoever_waited_for_what_failed_is_told_so() {
        let together = Together::default();
        let same = plan("same");
        let fails = || async { Err(Refusal::of(Reason::Unavailable)) };
        assert_eq!(together.answer(&same, fails).await.unwrap_err().reason, Reason::Unavailable);
        assert!(together.answer(&same, || async { Ok(1) }).await.is_ok(), "the next one asks anew");
    }

    /// Polls once, and gives what is ready.
    async fn polled<Future: std::future::Future + Unpin>(future: Future) -> Option<Future::Output> {
        let mut future = future;
        std::future::poll_fn(|context| {
            let polled = std::pin::Pin::new(&mut future).poll(context);
            std::task::Poll::Ready(match polled {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }
}
