//! Why there is nothing to report, or not all of it.

use std::io;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command line.
    #[error("{0}; `--help` tells what there is")]
    Arguments(String),
    /// Something of this machine.
    #[error("{doing}: {source}")]
    Machine {
        /// What was tried.
        doing: &'static str,
        /// What came of it.
        source: io::Error,
    },
    /// Nothing to compare with.
    #[error("none of the other tools is here: scripts/install-bench-tools installs them, and needs Go or apt-get")]
    NoPeer,
    /// Transship itself did not do what it should have.
    #[error("Transship, {case}: {reason}")]
    Transship {
        /// What was copied.
        case: &'static str,
        /// What it said, or what was found at the destination.
        reason: String,
    },
    /// Those that are here all failed.
    #[error("no other tool could do anything; the table tells why")]
    EveryPeerFailed,
}

impl Error {
    /// For `map_err`: what was tried.
    pub(crate) fn doing(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Machine { doing, source }
    }
}
