//! What the operating system says about a process: its CPU time and its memory.

use std::io;

/// CPU time of a process so far, user and system, in microseconds. Resolution: one clock tick (usually 10 ms), so rounds last seconds.
pub fn cpu_micros(pid: u32) -> io::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name is in parentheses and may hold anything; what follows the last one is numbers.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |field: usize| fields.get(field).and_then(|ticks| ticks.parse::<u64>().ok()).ok_or(io::ErrorKind::InvalidData);
    Ok((ticks(11)? + ticks(12)?) * 1_000_000 / rustix::param::clock_ticks_per_second())
}

/// The most memory that a process has had resident, in KiB.
pub fn peak_kib(pid: u32) -> io::Result<u64> {
    status_kib(pid, "VmHWM:")
}

/// The memory that a process has resident now, in KiB.
pub fn resident_kib(pid: u32) -> io::Result<u64> {
    status_kib(pid, "VmRSS:")
}

fn status_kib(pid: u32, name: &str) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or(io::ErrorKind::InvalidData)?;
    line.trim().trim_end_matches(" kB").parse().map_err(|_| io::ErrorKind::InvalidData.into())
}

/// The processes that `parent` has started and that live.
pub fn children(parent: u32) -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{parent}/task"))? {
        let listed = std::fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        found.extend(listed.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    Ok(found)
}
