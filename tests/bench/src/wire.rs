//! What the driver and the registries' process tell each other.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cases::Case;

/// Where the registries are; said once, when they are ready.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Description {
    /// Who signed their certificates, PEM.
    pub(crate) ca: String,
    /// Where they answer at once.
    pub(crate) near: Ends,
    /// Where they answer after a round trip.
    pub(crate) far: Ends,
}

/// Both registries, as host and port.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ends {
    /// The one that holds the images.
    pub(crate) source: String,
    /// The one that they go to.
    pub(crate) destination: String,
}

/// What the driver asks.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Question {
    /// Forget what was copied and counted, and make ready for a case; answered with [`Prepared`].
    Prepare(Case),
    /// Tell what was counted since, and whether the image of that case is whole; answered with [`Counted`].
    Count(Case),
}

/// The registries are ready for a case.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Prepared {
    /// The digest of what is copied.
    pub(crate) digest: String,
}

/// What happened since.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Counted {
    /// Asked of the source.
    pub(crate) source: Gauges,
    /// Asked of the destination.
    pub(crate) destination: Gauges,
    /// What is lacking at the destination, if anything is.
    pub(crate) lacking: Option<String>,
    /// Of what is attached, how much arrived, and how much there is.
    pub(crate) attached: Option<(u64, u64)>,
}

/// What one registry saw.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gauges {
    /// Requests.
    pub(crate) requests: u64,
    /// Connections made.
    pub(crate) connections: u64,
    /// Bytes of answers' bodies that it sent.
    pub(crate) sent: u64,
    /// Bytes of requests' bodies that it received.
    pub(crate) received: u64,
    /// Requests by their kind.
    pub(crate) kinds: BTreeMap<String, u64>,
}
