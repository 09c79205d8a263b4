//! Where things are when nobody says: the folders that the system names in variables.

use std::ffi::OsString;
use std::path::PathBuf;

/// The system's word on where this process may keep things. Taken once; a test makes its own.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// systemd's `$STATE_DIRECTORY`.
    pub state_directory: Option<PathBuf>,
    /// systemd's `$RUNTIME_DIRECTORY`.
    pub runtime_directory: Option<PathBuf>,
    /// `$XDG_DATA_HOME`.
    pub xdg_data_home: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR`.
    pub xdg_runtime_dir: Option<PathBuf>,
    /// `$HOME`.
    pub home: Option<PathBuf>,
    /// The user's number, which names the folder in shared memory.
    pub user: u32,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Self {
        Self {
            state_directory: first_of("STATE_DIRECTORY"),
            runtime_directory: first_of("RUNTIME_DIRECTORY"),
            xdg_data_home: variable("XDG_DATA_HOME"),
            xdg_runtime_dir: variable("XDG_RUNTIME_DIR"),
            home: variable("HOME"),
            user: rustix::process::getuid().as_raw(),
        }
    }

    /// The data folder when nobody names one.
    pub(super) fn data_dir(&self) -> Option<PathBuf> {
        let in_home = || self.home.as_ref().map(|home| home.join(".local/share/headcount"));
        self.state_directory.clone().or_else(|| self.xdg_data_home.as_ref().map(|data| data.join("headcount"))).or_else(in_home)
    }

    /// The keys' folder when nobody names one. Each of these is memory: gone after a reboot, and in no backup.
    pub(super) fn key_dir(&self) -> PathBuf {
        let of_user = || self.xdg_runtime_dir.as_ref().map(|runtime| runtime.join("headcount"));
        // systemd's own folder may be entered by others; the keys' lies within and may not.
        let of_service = self.runtime_directory.as_ref().map(|runtime| runtime.join("keys"));
        of_service.or_else(of_user).unwrap_or_else(|| PathBuf::from(format!("/dev/shm/headcount-{}", self.user)))
    }
}

/// A folder from the environment. The XDG specification says to ignore relative ones.
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// systemd separates several folders by colons; the first is the service's own.
fn first_of(name: &str) -> Option<PathBuf> {
    let text: OsString = std::env::var_os(name)?;
    text.to_str()?.split(':').map(PathBuf::from).find(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_folder_that_the_system_names_is_taken() {
        let mut surroundings = Surroundings { user: 1000, ..Surroundings::default() };
        assert_eq!(surroundings.data_dir(), None);
        assert_eq!(surroundings.key_dir(), PathBuf::from("/dev/shm/headcount-1000"));
        surroundings.home = Some("/home/ada".into());
        surroundings.xdg_runtime_dir = Some("/run/user/1000".into());
        assert_eq!(surroundings.data_dir(), Some("/home/ada/.local/share/headcount".into()));
        assert_eq!(surroundings.key_dir(), PathBuf::from("/run/user/1000/headcount"));
        surroundings.xdg_data_home = Some("/home/ada/data".into());
        assert_eq!(surroundings.data_dir(), Some("/home/ada/data/headcount".into()));
        surroundings.state_directory = Some("/var/lib/headcount".into());
        surroundings.runtime_directory = Some("/run/headcount".into());
        assert_eq!(surroundings.data_dir(), Some("/var/lib/headcount".into()));
        assert_eq!(surroundings.key_dir(), PathBuf::from("/run/headcount/keys"));
    }
}
