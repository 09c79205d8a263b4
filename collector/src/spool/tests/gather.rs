//! How many requests one sync serves: all that a worker has ready, and no more than it may wait for.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use super::super::{Log, Receipt};
use super::{DAY, Folder, with_log, zone};
use crate::limits::GATHER_TURNS;
use crate::row::EVENTS;

/// One request's row, whose commit is not waited for.
fn begin(log: &Log) -> Receipt {
    let mut rows = log.rows().expect("less waits than may wait");
    rows.push(&EVENTS, (&zone(), DAY), 0, |out, _| out.push(b'x')).unwrap();
    rows.finish()
}

async fn is_resolved(receipt: &mut Receipt) -> bool {
    poll_fn(|context| Poll::Ready(Pin::new(&mut *receipt).poll(context).is_ready())).await
}

#[test]
fn rows_of_successive_turns_share_a_commit() {
    let folder = Folder::new("gather");
    let sealed = with_log(&folder.spool(), |log| async move {
        let mut receipts = Vec::new();
        for _ in 0..5 {
            receipts.push(begin(&log));
            tokio::task::yield_now().await;
        }
        let mut others = receipts.split_off(1);
        receipts.remove(0).await.unwrap();
        for other in &mut others {
            assert!(is_resolved(other).await, "one sync serves all that came while the worker was busy");
        }
    });
    assert_eq!(sealed.iter().map(|segment| segment.totals().rows).sum::<u64>(), 5);
}

#[test]
fn a_commit_is_taken_although_every_turn_brings_more() {
    let folder = Folder::new("ungathered");
    let sealed = with_log(&folder.spool(), |log| async move {
        let mut first = begin(&log);
        let mut last = begin(&log);
        let mut turns = 1;
        while !is_resolved(&mut first).await {
            tokio::task::yield_now().await;
            last = begin(&log);
            turns += 1;
        }
        assert!(turns > GATHER_TURNS, "{turns} turns are too few to show a bound");
        last.await.unwrap();
    });
    assert!(!sealed.is_empty());
}
