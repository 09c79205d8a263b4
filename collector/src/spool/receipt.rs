//! What a request waits for: one ticket for each commit, and a receipt of it for everybody whose rows are in it.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::Unavailable;

/// Resolves when what it stands for is synced, or cannot be. All receipts of a commit are woken together, on their own thread.
#[derive(Debug)]
#[must_use = "nothing may be promised before the receipt has resolved"]
pub struct Receipt {
    ticket: Rc<Ticket>,
    /// Where the waker stands in the ticket's list.
    place: Option<usize>,
}

/// One commit, to be kept or not: everybody who waits for it is told at once.
#[derive(Default)]
pub(super) struct Ticket {
    result: Cell<Option<Result<(), Unavailable>>>,
    waiting: RefCell<Vec<Waker>>,
    afterwards: RefCell<Vec<Afterwards>>,
}

type Afterwards = Box<dyn FnOnce(Result<(), Unavailable>)>;

impl Ticket {
    /// Tells everybody, now and later.
    pub(super) fn complete(&self, result: Result<(), Unavailable>) {
        self.result.set(Some(result));
        for waker in self.waiting.take() {
            waker.wake();
        }
        for act in self.afterwards.take() {
            act(result);
        }
    }
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Ticket").field("result", &self.result).finish_non_exhaustive()
    }
}

impl Receipt {
    /// A receipt of this ticket.
    pub(super) fn of(ticket: &Rc<Ticket>) -> Self {
        Self { ticket: Rc::clone(ticket), place: None }
    }

    /// For who cannot wait: `act` is called with the result, now or as soon as it is known. Not at all when the log is dropped before.
    pub fn afterwards(self, act: impl FnOnce(Result<(), Unavailable>) + 'static) {
        match self.ticket.result.get() {
            Some(result) => act(result),
            None => self.ticket.afterwards.borrow_mut().push(Box::new(act)),
        }
    }
}

impl Future for Receipt {
    type Output = Result<(), Unavailable>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(result) = self.ticket.result.get() {
            return Poll::Ready(result);
        }
        let ticket = Rc::clone(&self.ticket);
        let mut waiting = ticket.waiting.borrow_mut();
        if let Some(place) = self.place {
            waiting[place].clone_from(context.waker());
        } else {
            self.place = Some(waiting.len());
            waiting.push(context.waker().clone());
        }
        Poll::Pending
    }
}
