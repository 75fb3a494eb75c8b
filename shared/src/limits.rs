//! Everything that can say "wait", and the order in which it is asked.
//!
//! Always: [`CommitGate`] (manifests only), then [`Quota`] (a slot of what is learnt, a turn at what is documented), then
//! [`StreamPermit`], then [`ByteLease`], then [`WindowShare`] (reads of blobs only). Who holds an inner one never asks for an outer one, so no circle of waiting can
//! close. What is held for long and is no copy's (manifests: [`ManifestRoom`]) has a part of the budget of its own.

mod byte_budget;
mod commit_gate;
mod congestion;
mod manifest_room;
mod pacer;
mod pulls;
mod quota;
mod receive_window;
mod stream_cap;

pub use byte_budget::{ADAPTIVE_WINDOW_BYTES, ByteBudget, ByteLease, Receiving};
pub use commit_gate::{CommitGate, CommitPermit, LayerAvailability};
pub use congestion::{CongestionWindow, LONGEST_WAIT, NotAdmitted, Slot};
pub use manifest_room::{Claim, ManifestRoom, TooManyManifests};
pub use pacer::Pacer;
pub use pulls::{Pull, Pulls};
pub use quota::{Admitted, CopyLimits, Quota, Refused};
pub use receive_window::WindowShare;
pub use stream_cap::{CapTooSmall, StreamCap, StreamPermit};
