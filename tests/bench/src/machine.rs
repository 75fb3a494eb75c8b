//! What it was measured on.

use std::{fs, thread};

use serde::Serialize;
use time::{OffsetDateTime, macros::format_description};

/// The machine, and how busy it was before the first run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    /// The day, UTC.
    pub(crate) date: String,
    /// Processors that this process may use.
    pub(crate) cores: usize,
    /// What the first of them calls itself.
    pub(crate) processor: String,
    /// Memory in GiB, rounded.
    pub(crate) memory_gib: u64,
    /// The kernel's version.
    pub(crate) kernel: String,
    /// Processes that were running or waiting in the minute before.
    pub(crate) load: f64,
}

impl Machine {
    /// Looks at it.
    pub(crate) fn look() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let day = OffsetDateTime::now_utc().format(format_description!("[year]-[month]-[day]"));
        let kib =
            value_of(&read("/proc/meminfo"), "MemTotal").split(' ').next().and_then(|kib| kib.parse::<u64>().ok());
        let load = read("/proc/loadavg");
        Self {
            date: day.unwrap_or_default(),
            cores: thread::available_parallelism().map_or(1, usize::from),
            processor: value_of(&read("/proc/cpuinfo"), "model name").to_owned(),
            memory_gib: (kib.unwrap_or_default() + (1 << 19)) >> 20,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default(),
        }
    }
}

/// What stands behind a name and a colon; empty where the name does not stand.
fn value_of<'a>(text: &'a str, name: &str) -> &'a str {
    let found = text.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.trim() == name);
    found.map(|(_, value)| value.trim()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_of_proc() {
        assert_eq!(value_of("MemTotal:       24000000 kB\nMemFree: 1 kB\n", "MemTotal"), "24000000 kB");
        assert_eq!(
            value_of("processor\t: 0\nmodel name\t: A Processor @ 2 GHz\n", "model name"),
            "A Processor @ 2 GHz"
        );
        assert_eq!(value_of("", "MemTotal"), "");
    }
}
