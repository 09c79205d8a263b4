//! Takes requests through the stages of their path, and prints for each measure how many events were between its marks and how often memory was allocated:
//! `FORM MEASURE EVENTS ALLOCATIONS`. How many instructions lie between the marks tells callgrind, under which it is run; see `tests/budget.rs`.

#![expect(clippy::print_stdout, reason = "the counts are this program's purpose")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use headcount_stages::probe::{self, Measure};
use headcount_stages::{AT_ONCE, Fault, Form, Stages};

/// Requests between the marks.
const SINGLES: usize = 16 * AT_ONCE;
const BATCHES: usize = 4;

/// The system's memory, and how often it was asked for: on every thread, new or larger.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static MEMORY: Counting = Counting;

#[expect(unsafe_code, reason = "an allocator is an unsafe trait; every call goes to the system's as it came")]
// SAFETY: each method upholds what `System` upholds, to which it passes its arguments unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller's own promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's own promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller's own promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller's own promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn main() -> Result<(), Fault> {
    for form in Form::ALL {
        let stages = Stages::new(form)?;
        let requests = match form {
            Form::Single => SINGLES,
            Form::Batch => BATCHES,
        };
        for measure in Measure::all() {
            let (mut first, mut last) = (None, 0);
            probe::run(&stages, measure, requests, || {
                last = ALLOCATIONS.load(Relaxed);
                first.get_or_insert(last);
            })?;
            println!("{} {} {} {}", form.label(), measure.label(), requests * form.events(), last - first.unwrap_or(last));
        }
    }
    Ok(())
}
