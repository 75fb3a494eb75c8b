//! `transfer` moves container images from one OCI registry to another, streaming, within a byte budget.
//!
//! The flow of one image, in reading order: [`rules`] turn a pushed image into [`request`]s; [`sync`] resolves one,
//! takes inventory, plans, transfers blobs, passes the commit gate, publishes manifests, reports.
//!
//! The layers, each naming only what stands below it, from the top (`tests/layers.rs` holds them to it):
//!
//! - [`compose`] puts everything together
//! - [`backfill`] finds what is missing at destinations
//! - [`telemetry`] and [`queue`]: what operators see, what functions tell each other
//! - [`sync`]: the stages
//! - [`ecr`] and [`secrets`]: adapters over the AWS SDK; [`google`] and [`azure`]: logins that those clouds give
//! - [`config`], [`event`], [`rules`], [`settings`], [`request`]: what users and registries ask for
//! - [`registry`]: the OCI distribution specification
//! - [`mod@transport`] is HTTP alone
//! - [`limits`], [`retry`], [`provider`]: what may be done, when, how often
//! - [`oci`], [`deadline`], [`error`], [`mod@trace`] name nothing else of ours

mod aws;
pub mod azure;
pub mod backfill;
pub mod compose;
pub mod config;
pub mod deadline;
pub mod ecr;
pub mod error;
pub mod event;
mod exchange;
pub mod google;
pub mod limits;
pub mod oci;
pub mod provider;
pub mod queue;
pub mod registry;
pub mod request;
pub mod retry;
pub mod rules;
pub mod secrets;
pub mod settings;
pub mod sync;
pub mod telemetry;
pub mod trace;
pub mod transport;
