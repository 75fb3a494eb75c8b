//! The harness of the scenarios: the real binaries under a Lambda Runtime API, registries that are not ours, and
//! a watchdog that names who is stuck.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "test support: what cannot happen here must stop the test at once"
)]

pub mod attached;
pub mod docker_registry;
pub mod event_source;
pub mod flows;
pub mod function;
pub mod http_client;
pub mod lambda;
pub mod layout;
pub mod measure;
pub mod moto;
pub mod skopeo;
pub mod watchdog;
pub mod world;

pub use self::{
    docker_registry::DockerRegistry,
    event_source::EventSource,
    function::{Function, Settings},
    lambda::{Outcome, RuntimeApi},
    layout::Layout,
    skopeo::Remote,
    world::World,
};
