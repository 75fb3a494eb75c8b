//! Everything that can say "wait", and the order in which it is asked.
//!
//! Always: [`CommitGate`] (manifests only), then [`Pacer`], then [`StreamPermit`], then [`ByteLease`]. Who holds an inner one never
//! asks for an outer one, so no circle of waiting can close.

mod byte_budget;
mod commit_gate;
mod pacer;
mod stream_cap;

pub use byte_budget::{ByteBudget, ByteLease};
pub use commit_gate::{CommitGate, CommitPermit, LayerAvailability};
pub use pacer::Pacer;
pub use stream_cap::{StreamCap, StreamPermit};
