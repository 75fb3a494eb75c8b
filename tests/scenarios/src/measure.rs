//! What a function's process took, for the programs that measure it.
#![allow(clippy::expect_used, reason = "measuring programs tell a person")]

use crate::function::Function;

/// User and system time of the process so far.
///
/// # Panics
/// If the process is gone.
#[must_use]
pub fn cpu_seconds(function: &Function) -> f64 {
    let pid = function.pid().expect("the function runs still");
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process has a status");
    // Fields 14 and 15, counted from the bracket behind the name, which may hold spaces (proc_pid_stat(5)).
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: f64 = fields[11..13].iter().map(|field| field.parse::<f64>().expect("a number of ticks")).sum();
    ticks / 100.0 // USER_HZ, which is 100 on every Linux that Lambda runs on
}

/// Bytes as mebibytes.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "numbers for a person")]
pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
