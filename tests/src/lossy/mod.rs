//! A disk that loses what was not synced, under the real kernel: a file system in this process's memory (FUSE), for the collector and for ClickHouse.
//!
//! It keeps everything twice: as it is now, and as it is on the disk itself. Only a sync carries something over: that of a file its bytes and its length,
//! that of a folder its names. A power cut drops what was not carried over, all or by lot, torn within pages if it is asked to. It is stricter than most
//! file systems, which write names in the order of their changes and often with the files; what holds here holds on them.
//!
//! The kernel hands each write over at once: there is no cache for writes above it. A cut lets every call wait, so that nobody learns of anything that
//! happens after it, until the processes are killed and the file system is mounted anew, without any cache.
//!
//! It takes `/dev/fuse` and the right to mount. A test that has neither says that it was skipped ([`LossyDisk::mount`]).

mod bytes;
mod calls;
mod loss;
mod orders;
mod tree;

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fuser::{BackgroundSession, Config, Errno, MountOption, Session};

use calls::Calls;
pub use loss::Loss;
use loss::Survivors;
pub use orders::Moment;
use orders::Orders;
use tree::Tree;

/// Calls of the kernel that are answered side by side: a sync that waits holds one of them.
const THREADS: usize = 12;

/// How long anything that has to happen may take before a test fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// What the mounted file system and the test share.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    tree: Tree,
    orders: Orders,
    power: Power,
    /// Which mount may change anything: a call that comes late from an earlier one may not.
    mount: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Power {
    On,
    /// Calls wait, or end with an error when the mount ends.
    Out,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, for a call that came by `mount`. Waits while the power is out, and then fails.
    fn powered(&self, mount: u64) -> Result<MutexGuard<'_, State>, Errno> {
        let waiting = |state: &mut State| state.power == Power::Out && state.mount == mount;
        let state = self.changed.wait_while(self.lock(), waiting).unwrap_or_else(PoisonError::into_inner);
        if state.mount == mount { Ok(state) } else { Err(Errno::EIO) }
    }

    /// Waits until `done`, or until the power goes.
    fn wait(&self, mount: u64, done: Instant) {
        let powered = |state: &mut State| state.power == Power::On && state.mount == mount && Instant::now() < done;
        let left = done.saturating_duration_since(Instant::now());
        let state = self.changed.wait_timeout_while(self.lock(), left, powered);
        drop(state.unwrap_or_else(PoisonError::into_inner));
    }
}

/// The disk, mounted. Unmounted when dropped, and also when this process dies.
#[derive(Debug)]
pub struct LossyDisk {
    shared: Arc<Shared>,
    at: PathBuf,
    session: Option<BackgroundSession>,
    _janitor: Janitor,
}

impl LossyDisk {
    /// Mounts an empty one at `folder`, which is made when it is missing. `None` where that cannot be done; then it says on standard error that `what` was
    /// not tried.
    ///
    /// # Panics
    ///
    /// When the folder cannot be made.
    pub fn mount(folder: &Path, what: &str) -> Option<Self> {
        std::fs::create_dir_all(folder).expect("the test's own folder can be written to");
        Self::try_mount(folder).map_err(|error| skipped(what, &error)).ok()
    }

    fn try_mount(folder: &Path) -> io::Result<Self> {
        let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let state = State { tree: Tree::new(owner), orders: Orders::default(), power: Power::On, mount: 0 };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let session = Some(session(&shared, folder, 0)?);
        Ok(Self { shared, at: folder.to_owned(), session, _janitor: Janitor::hire(folder)? })
    }

    /// Puts everything on the disk, as a machine that runs on does sooner or later.
    pub fn settle(&self) {
        self.shared.lock().tree.settle();
    }

    /// Lets the power go at the sync that comes after `syncs` others.
    pub fn cut_after(&self, syncs: u64, moment: Moment) {
        let mut state = self.shared.lock();
        state.orders.cut_at = Some((state.orders.syncs + syncs + 1, moment));
    }

    /// Lets the power go now: from here on nothing reaches the disk, and calls wait.
    pub fn cut(&self) {
        self.shared.lock().power = Power::Out;
        self.shared.changed.notify_all();
    }

    /// Whether the power is out.
    pub fn is_out(&self) -> bool {
        self.shared.lock().power == Power::Out
    }

    /// Waits until the power goes, at most so long; then it goes.
    pub fn wait_for_cut(&self, patience: Duration) {
        let on = |state: &mut State| state.power == Power::On;
        let state = self.shared.changed.wait_timeout_while(self.shared.lock(), patience, on);
        drop(state.unwrap_or_else(PoisonError::into_inner));
        self.cut();
    }

    /// Takes what a power cut takes and mounts what is left. All processes that used the disk must have been sent SIGKILL: their calls end with an error
    /// now, of which none of them must learn.
    ///
    /// # Panics
    ///
    /// When a process that still lives holds the disk.
    pub fn restore(&mut self, loss: Loss) {
        self.cut();
        self.unmount();
        let mut state = self.shared.lock();
        state.tree.cut(&mut Survivors::of(loss));
        state.orders.cut_at = None;
        state.power = Power::On;
        let mount = state.mount;
        drop(state);
        self.session = Some(session(&self.shared, &self.at, mount).expect("what was mounted can be mounted again"));
    }

    /// Lets `count` syncs fail after `syncs` others. What they should have written is lost, as on Linux: a later sync does not write it either.
    pub fn fail_syncs(&self, syncs: u64, count: u64) {
        let mut state = self.shared.lock();
        let first = state.orders.syncs + syncs + 1;
        state.orders.fail_from = Some((first, first + count));
    }

    /// Lets every sync take so long.
    pub fn delay_syncs(&self, delay: Duration) {
        self.shared.lock().orders.delay = delay;
    }

    /// Lets syncs write so many bytes a second, all together; `None` is as many as they like.
    pub fn throttle(&self, bytes_a_second: Option<u64>) {
        let mut state = self.shared.lock();
        state.orders.rate = bytes_a_second;
        state.orders.busy_until = None;
    }

    /// Lets the disk be full once its files have so many bytes; `None` is never.
    pub fn full_after(&self, bytes: Option<u64>) {
        self.shared.lock().orders.capacity = bytes;
    }

    /// Syncs of files and folders so far.
    pub fn syncs(&self) -> u64 {
        self.shared.lock().orders.syncs
    }

    /// Bytes that syncs have put on the disk so far, in whole pages.
    pub fn synced_bytes(&self) -> u64 {
        self.shared.lock().orders.synced_bytes
    }

    /// Ends the mount, and every call that still comes by it.
    fn unmount(&mut self) {
        self.shared.lock().mount += 1;
        self.shared.changed.notify_all();
        let Some(session) = self.session.take() else { return };
        // Lazily: a process that is dying may hold a file yet. The session ends with the last of them.
        let detached = rustix::mount::unmount(&self.at, rustix::mount::UnmountFlags::DETACH);
        if detached.is_err() {
            let _ = Command::new("fusermount3").arg("-uz").arg(&self.at).status();
        }
        let deadline = Instant::now() + PATIENCE;
        while !session.guard.is_finished() {
            assert!(Instant::now() < deadline, "a process still holds the disk");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for LossyDisk {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // A collector may still run; the janitor unmounts.
            self.cut();
            self.shared.lock().mount += 1;
            self.shared.changed.notify_all();
            std::mem::forget(self.session.take());
        } else {
            self.unmount();
        }
    }
}

fn session(shared: &Arc<Shared>, folder: &Path, mount: u64) -> io::Result<BackgroundSession> {
    let mut config = Config::default();
    config.mount_options = vec![MountOption::FSName("lossy".to_owned()), MountOption::NoAtime];
    config.n_threads = Some(THREADS);
    Session::new(Calls { shared: Arc::clone(shared), mount }, folder, &config)?.spawn()
}

#[expect(clippy::print_stderr, reason = "a test that was not made must not look as if it was")]
fn skipped(what: &str, error: &io::Error) {
    eprintln!(
        "SKIPPED: {what}: the disk that loses what was not synced cannot be mounted here ({error}); it takes /dev/fuse and the right to mount"
    );
}

/// A process that unmounts when this one is gone, however it went: it sees the end of its standard input.
#[derive(Debug)]
struct Janitor {
    process: Child,
    input: Option<ChildStdin>,
}

impl Janitor {
    fn hire(folder: &Path) -> io::Result<Self> {
        const DUTY: &str = r#"trap "" INT TERM HUP; read -r _; umount -l "$1" || fusermount3 -uz "$1""#;
        let mut command = Command::new("sh");
        command.args(["-c", DUTY, "janitor"]).arg(folder);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let input = process.stdin.take();
        Ok(Self { process, input })
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.process.wait();
    }
}
