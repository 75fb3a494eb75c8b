//! Why there is nothing to report.

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
    /// The registries' process said something else than it should.
    #[error("the registries' process: {0}")]
    Registries(String),
    /// An image was not copied, or not as it should be.
    #[error("{0}")]
    Copy(String),
}

impl Error {
    /// For `map_err`: what was tried.
    pub(crate) fn doing(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Machine { doing, source }
    }
}

impl From<transfer::error::Error> for Error {
    fn from(error: transfer::error::Error) -> Self {
        Self::Copy(error.to_string())
    }
}
