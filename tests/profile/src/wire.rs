//! What the two processes tell each other: a line of JSON for each line that asks.

use serde::{Deserialize, Serialize};

/// What the copier asks.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Question {
    /// Forget what was copied and counted so far.
    Reset,
    /// Tell what was counted since.
    Report,
}

/// Where the registries are; said once, when they are ready.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Description {
    /// Who signed their certificates, PEM.
    pub(crate) ca: String,
    /// The registry that holds the images.
    pub(crate) source: Place,
    /// The one that they go to.
    pub(crate) destination: Place,
}

/// Where one registry is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Its host, as references have it.
    pub(crate) host: String,
    /// Where it answers.
    pub(crate) endpoint: String,
    /// Where its blob reads are redirected to, if they are.
    pub(crate) blobs: Option<String>,
}

/// What happened since the last [`Question::Reset`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Asked of the source.
    pub(crate) source: Gauges,
    /// Asked of the destination.
    pub(crate) destination: Gauges,
    /// CPU time of the registries' process in seconds.
    pub(crate) cpu_seconds: f64,
    /// Images that are whole at the destination, under the source's digest.
    pub(crate) whole: u64,
}

/// What one registry saw.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Gauges {
    /// Requests.
    pub(crate) requests: u64,
    /// Connections made.
    pub(crate) connections: u64,
    /// Requests open at once, at most.
    pub(crate) peak_streams: u64,
    /// The same on one connection.
    pub(crate) peak_streams_per_connection: u64,
}
