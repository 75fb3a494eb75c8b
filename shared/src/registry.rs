//! One registry: the OCI distribution specification spoken over [`crate::transport`], with its credentials and limits.
//!
//! A [`RegistryClient`] lives as long as the process and keeps tokens and connections. A [`Repository`] is one
//! repository of it for the time of one run, with the run's counts and deadline; its methods are the spec's.

mod attached_tags;
mod auth;
mod blob;
mod listing;
mod manifest;
mod pages;
mod referrers;
mod refusal;
mod removal;
mod request;
mod sent;
mod small_blob;
mod upload;

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
};

pub use attached_tags::{AttachedTags, LastTags};
pub use auth::{
    AnonymousLogin, Authenticator, KeptLogin, Login, LoginIssued, LoginRequest, LoginSource, Secret, ServicePrincipal,
};
pub use blob::{BlobsAt, OpenedBlob};
pub use listing::{ListedImage, Listing, OciListing, Page};
pub use manifest::{ManifestHead, Taken};
pub use referrers::{FallbackList, Lacks};
pub use refusal::CREATE_ADVICE;
pub use removal::{OciTags, Untagging};
pub use sent::SentLately;
pub use upload::{ChunkTaken, CopyWindow, Session, Started, UploadLimit};

use crate::{
    deadline::Deadline,
    limits::{Pulls, Quota, StreamCap},
    oci::Digest,
    provider::{Action, Provider},
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
    /// The cap on its streams.
    pub streams: StreamCap,
    /// How often a request is tried.
    pub policy: RetryPolicy,
    /// What it takes of each kind of request.
    pub quotas: Quotas,
    /// What is left of its allowance of pulls.
    pub pulls: Pulls,
    /// What was sent to it lately.
    pub sent: SentLately,
    /// What it was found to be without.
    pub lacks: Lacks,
    /// The tags of a repository that belong to other manifests, as they were read last.
    pub last_tags: LastTags,
    /// Whether it sends blobs itself.
    pub blobs_at: BlobsAt,
    /// The least size of a chunk in bytes, as it said last (`OCI-Chunk-Min-Length`); 0: it has not.
    pub least_chunk: AtomicU64,
    /// How long it lets an upload take.
    pub upload_limit: UploadLimit,
}

/// What one registry takes of each kind of request: registries count them apart, so a refusal of one slows no other.
#[derive(Debug)]
pub struct Quotas {
    head_manifest: Quota,
    get_manifest: Quota,
    put_manifest: Quota,
    head_blob: Quota,
    get_blob: Quota,
    start_upload: Quota,
    upload: Quota,
    list: Quota,
    remove_tag: Quota,
}

impl Quotas {
    /// The quotas of a registry of this kind, each `widest` requests at once to begin with.
    #[must_use]
    pub fn new(provider: Provider, widest: u32) -> Self {
        let quota = |action| Quota::new(provider.pace(action), widest);
        Self {
            head_manifest: quota(Action::HeadManifest),
            get_manifest: quota(Action::GetManifest),
            put_manifest: quota(Action::PutManifest),
            head_blob: quota(Action::HeadBlob),
            get_blob: quota(Action::GetBlob),
            start_upload: quota(Action::StartUpload),
            upload: quota(Action::Upload),
            list: quota(Action::List),
            remove_tag: quota(Action::RemoveTag),
        }
    }

    /// The quota of one kind.
    #[must_use]
    pub fn of(&self, action: Action) -> &Quota {
        match action {
            Action::HeadManifest => &self.head_manifest,
            Action::GetManifest => &self.get_manifest,
            Action::PutManifest => &self.put_manifest,
            Action::HeadBlob => &self.head_blob,
            Action::GetBlob => &self.get_blob,
            Action::StartUpload => &self.start_upload,
            Action::Upload => &self.upload,
            Action::List => &self.list,
            Action::RemoveTag => &self.remove_tag,
        }
    }
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

    /// The list of `client`'s repositories, which asks for a right of its own (Docker registry, "Token scope").
    #[must_use]
    fn catalog(client: Arc<RegistryClient>, run: Run) -> Self {
        let scopes = vec!["registry:catalog:*".to_owned()];
        Self { client, name: "_catalog".to_owned(), side: Side::Source, run, scopes }
    }

    /// Remembers that a blob was sent here.
    pub fn note_sent(&self, digest: &Digest) {
        self.client.sent.note(&self.name, digest);
    }

    /// Whether this process has sent the blob here lately.
    #[must_use]
    pub fn sent_lately(&self, digest: &Digest) -> bool {
        self.client.sent.knows(&self.name, digest)
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
