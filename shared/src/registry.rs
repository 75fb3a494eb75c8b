//! One registry: the OCI distribution specification spoken over [`crate::transport`], with its credentials and limits.
//!
//! A [`RegistryClient`] lives as long as the process and keeps tokens and connections. A [`Repository`] is one
//! repository of it for the time of one run, with the run's counts and deadline; its methods are the spec's.

mod auth;
mod blob;
mod manifest;
mod request;
mod upload;

use std::{fmt, sync::Arc};

pub use auth::{AnonymousLogin, Authenticator, Login, LoginIssued, LoginSource, Secret};
pub use blob::OpenedBlob;
pub use manifest::ManifestHead;
pub use request::CREATE_ADVICE;
pub use upload::{Session, Started, UPLOAD_WINDOW_BYTES};

use crate::{
    deadline::Deadline,
    limits::{Pacer, StreamCap},
    provider::Provider,
    retry::RetryPolicy,
    transport::Meter,
    transport::Transport,
};

/// One registry, for the life of the process. Connects when it is first used.
pub struct RegistryClient {
    /// The host, as it stands in references.
    pub host: String,
    /// What kind of registry it is.
    pub provider: Provider,
    /// The way to it.
    pub transport: Transport,
    /// How it is told who asks.
    pub auth: Authenticator,
    /// The cap on its body-carrying streams.
    pub streams: StreamCap,
    /// How often a request is tried.
    pub policy: RetryPolicy,
    /// The rate at which manifests are put, where one is documented.
    pub manifest_puts: Option<Pacer>,
}

impl fmt::Debug for RegistryClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RegistryClient({})", self.host)
    }
}

/// Which end of a sync a repository is. Decides what is asked of the token service, and how a 404 is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Read from.
    Source,
    /// Written to.
    Destination,
}

/// What one run needs everywhere: its counts and its deadline.
#[derive(Debug, Clone)]
pub struct Run {
    /// Counts of this side.
    pub meter: Arc<Meter>,
    /// When the invocation ends.
    pub deadline: Deadline,
}

/// One repository for the time of one run.
#[derive(Debug, Clone)]
pub struct Repository {
    client: Arc<RegistryClient>,
    name: String,
    side: Side,
    run: Run,
    scopes: Vec<String>,
}

impl Repository {
    /// A repository of `client` to read from.
    #[must_use]
    pub fn source(client: Arc<RegistryClient>, name: &str, run: Run) -> Self {
        let scopes = vec![format!("repository:{name}:pull")];
        Self { client, name: name.to_owned(), side: Side::Source, run, scopes }
    }

    /// A repository of `client` to write to; `mount_from` is another one of the same registry that blobs may be
    /// mounted from.
    #[must_use]
    pub fn destination(client: Arc<RegistryClient>, name: &str, mount_from: Option<&str>, run: Run) -> Self {
        let mut scopes = vec![format!("repository:{name}:pull,push")];
        scopes.extend(mount_from.map(|from| format!("repository:{from}:pull")));
        Self { client, name: name.to_owned(), side: Side::Destination, run, scopes }
    }

    /// The registry it is in.
    #[must_use]
    pub fn client(&self) -> &Arc<RegistryClient> {
        &self.client
    }

    /// The run it is used in.
    #[must_use]
    pub fn run(&self) -> &Run {
        &self.run
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.client.host, self.name)
    }
}
