//! Whether a worker sleeps when it may, and only then.

#![expect(clippy::disallowed_methods, reason = "each test waits for the tasks that it starts")]

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tokio::sync::mpsc::unbounded_channel;
use tokio::task::LocalSet;

use super::*;
use crate::spool::Log;
use crate::spool::tests::{Folder, clock, write};

/// So long that a rest of it would be noticed.
const LONG: Duration = Duration::from_mins(1);

fn of(interval: Duration) -> Rest {
    Rest { interval, ..Rest::default() }
}

/// Runs `work` against a log of a worker that rests.
fn with_log<F: Future<Output = ()>>(name: &str, interval: Duration, work: impl FnOnce(Rc<Log>) -> F) {
    let folder = Folder::new(name);
    let (runtime, rest) = Rest::every(interval).unwrap();
    LocalSet::new().block_on(&runtime, async {
        let log = Log::resting(folder.spool(), clock(), rest);
        let runner = tokio::task::spawn_local(Rc::clone(&log).run(0, unbounded_channel().0));
        work(Rc::clone(&log)).await;
        log.close();
        runner.await.unwrap().unwrap();
    });
}

#[test]
fn a_worker_without_a_commit_does_not_rest() {
    let begun = Clock::monotonic();
    of(LONG).take();
    assert!(begun.elapsed() < LONG / 2);
}

#[test]
fn it_sleeps_until_the_disk_is_done() {
    let (rest, is_done) = (of(LONG), AtomicBool::new(false));
    rest.begin();
    let begun = Clock::monotonic();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(20));
            is_done.store(true, Ordering::SeqCst);
            rest.end();
        });
        rest.take();
        assert!(is_done.load(Ordering::SeqCst));
    });
    assert!(begun.elapsed() < LONG / 2);
}

#[test]
fn a_disk_that_hangs_keeps_nobody_from_being_refused() {
    let rest = of(Duration::from_millis(5));
    rest.begin();
    let begun = Clock::monotonic();
    rest.take();
    assert!(rest.lock().is_under_way && begun.elapsed() < LONG / 2);
}

#[test]
fn commits_begin_an_interval_apart() {
    const INTERVAL: Duration = Duration::from_millis(100);
    let begun = Clock::monotonic();
    with_log("apart", INTERVAL, async |log| {
        for _ in 0..5 {
            write(&log, &["a"]).await;
        }
    });
    assert!(begun.elapsed() >= INTERVAL * 4);
}

#[test]
fn a_worker_that_never_rests_commits_all_the_same() {
    with_log("busy", Duration::from_millis(5), async |log| {
        let is_over = Rc::new(AtomicBool::new(false));
        let over = Rc::clone(&is_over);
        let busy = tokio::task::spawn_local(async move {
            while !over.load(Ordering::SeqCst) {
                tokio::task::yield_now().await;
            }
        });
        let writes = async {
            for _ in 0..3 {
                write(&log, &["a"]).await;
            }
        };
        tokio::time::timeout(LONG / 2, writes).await.unwrap();
        is_over.store(true, Ordering::SeqCst);
        busy.await.unwrap();
    });
}
