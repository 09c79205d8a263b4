//! One collector per data folder, how another process finds it, and whether this version may touch the folder.
//!
//! A running collector holds a lock on `headcount.lock` in its data folder. The lock is the kernel's: it ends with the process however that ends, and it
//! names its holder, so that no number in a file can go stale. It is a POSIX record lock (fcntl(2)), which a child does not inherit and which this process
//! would lose by closing *any* descriptor of the file: nothing but this module opens it.
//!
//! The file `format` holds the version of everything in the folder that no other file states a version of: where things lie, and what they are called. It
//! is written once, when the folder is made, and by whatever version changes the layout. A folder of a newer version is refused before anything in it is
//! looked at; spool segments and the database state versions of their own, and are refused by whoever reads them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::process::{Flock, FlockType, Pid, Signal};

const LOCK_NAME: &str = "headcount.lock";
const FORMAT_NAME: &str = "format";

/// The version of the folder's layout that this program writes, and the newest that it knows.
const FORMAT: u32 = 1;

/// Why a data folder cannot be claimed.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// Another collector has it.
    #[error("data_dir = {}: another headcount is running there", data_dir.display())]
    Taken {
        /// The folder.
        data_dir: PathBuf,
    },
    /// A newer Headcount has written it.
    #[error(
        "data_dir = {}: written by a newer Headcount, in format {found}; this one knows formats up to {FORMAT}: start the newer one again",
        data_dir.display()
    )]
    Newer {
        /// The folder.
        data_dir: PathBuf,
        /// Its format, as the file says.
        found: u32,
    },
    /// The file that states its format does not.
    #[error("data_dir = {}: its file `{FORMAT_NAME}` is damaged; it should hold one number, the format of the folder", data_dir.display())]
    Unversioned {
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
            Ok(()) => {}
            Err(Errno::ACCESS | Errno::AGAIN) => return Err(InstanceError::Taken { data_dir: data_dir.to_path_buf() }),
            Err(errno) => return Err(unusable(errno.into())),
        }
        match format_of(data_dir).map_err(unusable)? {
            None => write_format(data_dir).map_err(unusable)?,
            Some(Ok(FORMAT)) => {}
            Some(Ok(found)) if found > FORMAT => return Err(InstanceError::Newer { data_dir: data_dir.to_path_buf(), found }),
            Some(_) => return Err(InstanceError::Unversioned { data_dir: data_dir.to_path_buf() }),
        }
        Ok(Self { _lock: lock })
    }
}

/// What the folder says of its format; `None` when it says nothing, as one that was never used.
fn format_of(data_dir: &Path) -> io::Result<Option<Result<u32, std::num::ParseIntError>>> {
    match std::fs::read_to_string(data_dir.join(FORMAT_NAME)) {
        Ok(text) => Ok(Some(text.trim().parse())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Written beside its place and then moved: a crash leaves it whole, or leaves none.
fn write_format(data_dir: &Path) -> io::Result<()> {
    let fresh = data_dir.join("format.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    writeln!(file, "{FORMAT}")?;
    file.sync_all()?;
    std::fs::rename(&fresh, data_dir.join(FORMAT_NAME))?;
    File::open(data_dir)?.sync_all()
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
    fn a_folder_states_its_format_and_one_of_a_newer_version_is_refused() {
        let data_dir = std::env::temp_dir().join(format!("headcount-format-{}", std::process::id()));
        drop(Instance::claim(&data_dir).unwrap());
        let written = std::fs::read_to_string(data_dir.join(FORMAT_NAME)).unwrap();
        let refused = |text: &str| {
            std::fs::write(data_dir.join(FORMAT_NAME), text).unwrap();
            Instance::claim(&data_dir).err().map(|error| error.to_string().replace(&*data_dir.to_string_lossy(), "D"))
        };
        let refusals = ["1\n", "2\n", "", "one", "0"].map(refused);
        std::fs::remove_dir_all(&data_dir).unwrap();
        assert_eq!(written, "1\n");
        let damaged = Some("data_dir = D: its file `format` is damaged; it should hold one number, the format of the folder".to_owned());
        let newer = "data_dir = D: written by a newer Headcount, in format 2; this one knows formats up to 1: start the newer one again";
        assert_eq!(refusals, [None, Some(newer.to_owned()), damaged.clone(), damaged.clone(), damaged]);
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
