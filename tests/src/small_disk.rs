//! A disk that is soon full: a small file system in memory. It takes the right to mount; who has none is told that the test was skipped.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system of 16 MiB. Unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one at `at`, which is made if it is not there. `None` where that is not possible; then standard error says that `what` was not tried.
    ///
    /// # Panics
    ///
    /// When the folder cannot be made.
    #[expect(clippy::print_stderr, reason = "a test that is skipped must say so")]
    pub fn mount(at: &Path, what: &str) -> Option<Self> {
        std::fs::create_dir_all(at).expect("the test's own folder can be written to");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m,mode=0700", "none"]).arg(at).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(at.to_owned()));
        }
        eprintln!("SKIPPED: a small file system cannot be mounted here (it takes CAP_SYS_ADMIN), so {what} was not tried");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What is still open on it keeps it until it is closed.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
