//! Programs of others that tests and benchmarks run: installed, or unpacked beside the other data by `tests/deps.sh`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where `name` is, if it is here and runs when it is asked for its version with `version`.
pub fn find(name: &str, version: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let unpacked =
        cache.into_iter().flat_map(|cache| ["usr/sbin", "usr/bin"].map(|at| cache.join("headcount/proxies").join(at).join(name)));
    let runs = |path: &PathBuf| {
        let status = Command::new(path).arg(version).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    [PathBuf::from(name), Path::new("/usr/sbin").join(name)].into_iter().chain(unpacked).find(runs)
}
