//! What this process has taken of the machine, as the kernel tells.

use std::fs;

use rustix::time::{ClockId, clock_gettime};

/// Ticks of a second in `/proc`: USER_HZ, which is 100 on every Linux that Lambda runs on.
const TICKS: f64 = 100.0;

/// User and system time of all threads so far, in seconds, to the nanosecond.
#[allow(clippy::cast_precision_loss, reason = "no process lives for 2^53 ns")]
pub(crate) fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The system's part of it, in seconds, to 10 ms.
pub(crate) fn system_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Field 15, counted from the bracket behind the name, which may hold spaces (proc_pid_stat(5)).
    let field = stat.rsplit(')').next().unwrap_or_default().split_whitespace().nth(12);
    field.and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or_default() / TICKS
}

/// Resident memory now, in bytes.
pub(crate) fn resident_bytes() -> u64 {
    status("VmRSS:")
}

/// The most resident memory since [`forget_peak`], in bytes.
pub(crate) fn peak_resident_bytes() -> u64 {
    status("VmHWM:")
}

/// Lets the peak begin anew; says whether that was permitted.
pub(crate) fn forget_peak() -> bool {
    fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// A size in `/proc/self/status`, which has it in KiB.
fn status(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}
