//! One collector per data folder, and how another process finds it.
//!
//! A running collector holds a lock on `headcount.lock` in its data folder. The lock is the kernel's: it ends with the process however that ends, and it
//! names its holder, so that no number in a file can go stale. It is a POSIX record lock (fcntl(2)), which a child does not inherit and which this process
//! would lose by closing *any* descriptor of the file: nothing but this module opens it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::process::{Flock, FlockType, Pid, Signal};

const LOCK_NAME: &str = "headcount.lock";

/// Why a data folder cannot be claimed.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// Another collector has it.
    #[error("data_dir = {}: another headcount is running there", data_dir.display())]
    Taken {
        /// The folder.
        data_dir: PathBuf,
    },
    /// The folder or the lock in it cannot be used.
    #[error("data_dir = {}: cannot be used", data_dir.display())]
    Unusable {
        /// The folder.
        data_dir: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
}

/// The claim on a data folder; held as long as this lives.
#[derive(Debug)]
pub struct Instance {
    _lock: File,
}

impl Instance {
    /// Makes `data_dir`, for its owner only, if it is not there, and claims it. Take the signals first: whoever sees the claim may send SIGHUP.
    pub fn claim(data_dir: &Path) -> Result<Self, InstanceError> {
        let unusable = |cause: io::Error| InstanceError::Unusable { data_dir: data_dir.to_path_buf(), cause };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(unusable)?;
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(data_dir.join(LOCK_NAME));
        let lock = options.map_err(unusable)?;
        match rustix::fs::fcntl_lock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _lock: lock }),
            Err(Errno::ACCESS | Errno::AGAIN) => Err(InstanceError::Taken { data_dir: data_dir.to_path_buf() }),
            Err(errno) => Err(unusable(errno.into())),
        }
    }
}

/// What became of a wish to have the configuration read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// The running collector was told.
    Told,
    /// None is running.
    NotRunning,
    /// One is running, and this process may not tell it: it is another user's, or in another container.
    OutOfReach,
}

/// Tells the collector that runs on `data_dir` to read its configuration again.
pub fn reload(data_dir: &Path) -> Reload {
    // Read-only is enough to ask about a lock.
    let Ok(file) = File::open(data_dir.join(LOCK_NAME)) else { return Reload::NotRunning };
    match rustix::process::fcntl_getlk(&file, &Flock::from(FlockType::ReadLock)) {
        Ok(None) => Reload::NotRunning,
        Ok(Some(Flock { pid: Some(pid), .. })) => tell(pid),
        Ok(Some(_)) | Err(_) => Reload::OutOfReach,
    }
}

fn tell(pid: Pid) -> Reload {
    rustix::process::kill_process(pid, Signal::HUP).map_or(Reload::OutOfReach, |()| Reload::Told)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    const CHILD: &str = "HEADCOUNT_TEST_CLAIMS";

    /// In the child of the test below: claims the folder, says so, and lives until SIGHUP ends it.
    #[test]
    fn claims_when_asked() {
        let Some(data_dir) = std::env::var_os(CHILD) else { return };
        let _instance = Instance::claim(Path::new(&data_dir)).unwrap();
        println!("claimed");
        let mut never = String::new();
        std::io::stdin().read_line(&mut never).unwrap();
    }

    #[test]
    fn a_folder_has_one_collector_and_another_process_can_tell_it_to_reload() {
        let data_dir = std::env::temp_dir().join(format!("headcount-instance-{}", std::process::id()));
        assert_eq!(reload(&data_dir), Reload::NotRunning);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "instance::tests::claims_when_asked", "--nocapture"])
            .env(CHILD, &data_dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok).find(|line| line.contains("claimed"));
        assert!(said.is_some());

        assert!(matches!(Instance::claim(&data_dir), Err(InstanceError::Taken { .. })));
        assert_eq!(reload(&data_dir), Reload::Told);
        let ended = std::os::unix::process::ExitStatusExt::signal(&child.wait().unwrap());
        assert_eq!(ended, Some(Signal::HUP.as_raw()));
        assert_eq!(reload(&data_dir), Reload::NotRunning);
        let claimed = Instance::claim(&data_dir).is_ok();
        std::fs::remove_dir_all(&data_dir).unwrap();
        assert!(claimed);
    }
}
