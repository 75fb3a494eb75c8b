//! One process from its start to its end, and what the kernel says it took.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::task::JoinHandle;
use wait4::{ResUse, Wait4};

use crate::error::Error;

/// What a process took, all its threads and children counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    /// From before its start until it was waited for, in seconds.
    pub(crate) seconds: f64,
    /// User and system time, in seconds.
    pub(crate) cpu_seconds: f64,
    /// The system's part of it, in seconds.
    pub(crate) system_seconds: f64,
    /// The most resident memory, in bytes. The kernel counts what whoever started it had at most, too: never less than
    /// [`own_peak`].
    pub(crate) peak_resident: u64,
    /// How it ended.
    pub(crate) status: ExitStatus,
}

impl Taken {
    /// Why it is no success, if it is none.
    pub(crate) fn failure(&self) -> Option<String> {
        match (self.status.success(), self.status.signal()) {
            (true, _) => None,
            (false, Some(signal)) => Some(format!("ended by signal {signal}")),
            (false, None) => Some(format!("ended with {}", self.status.code().unwrap_or(-1))),
        }
    }
}

/// A process that runs.
pub(crate) struct Running {
    pid: u32,
    waiting: JoinHandle<std::io::Result<Taken>>,
    /// Just before its start.
    pub(crate) begun: Instant,
}

impl Running {
    /// Starts a process.
    pub(crate) fn start(command: &mut Command) -> Result<Self, Error> {
        let begun = Instant::now();
        let child = command.spawn().map_err(Error::doing("starting a tool"))?;
        let pid = child.id();
        Ok(Self { pid, begun, waiting: tokio::task::spawn_blocking(move || wait(child, begun)) })
    }

    /// Waits until it ends, but no longer than this: then it is killed.
    pub(crate) async fn end_within(&mut self, limit: Duration) -> Result<Taken, Error> {
        match tokio::time::timeout(limit, self.ended()).await {
            Ok(taken) => taken,
            Err(_) => {
                self.kill();
                self.ended().await
            }
        }
    }

    /// Waits until it ends.
    pub(crate) async fn ended(&mut self) -> Result<Taken, Error> {
        let joined = (&mut self.waiting).await.map_err(std::io::Error::other).and_then(|taken| taken);
        joined.map_err(Error::doing("waiting for a tool"))
    }

    /// Ends it at once.
    pub(crate) fn kill(&self) {
        // Its number is its own until it was waited for; afterwards there is nothing to end.
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw).filter(|_| !self.waiting.is_finished())
        {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

fn wait(mut child: Child, begun: Instant) -> std::io::Result<Taken> {
    let ResUse { status, rusage } = child.wait4()?;
    let seconds = begun.elapsed().as_secs_f64();
    let (user, system) = (rusage.utime.as_secs_f64(), rusage.stime.as_secs_f64());
    Ok(Taken { seconds, cpu_seconds: user + system, system_seconds: system, peak_resident: rusage.maxrss, status })
}

/// The most resident memory of this process so far, in bytes.
pub(crate) fn own_peak() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}
