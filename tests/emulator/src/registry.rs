//! A running registry: its settings, its servers, and what tests see of it.

mod api;
mod audit;
mod auth;
mod blobs;
mod body;
mod builder;
mod calm;
mod convert;
mod limits;
mod manifests;
mod objects;
mod parents;
mod personality;
mod quotas;
mod referrers;
mod reply;
mod route;
mod server;
mod tags;
mod tokens;
mod uploads;
mod validate;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

pub use builder::Builder;
pub(crate) use limits::Buckets;
pub use personality::Personality;
pub(crate) use personality::Traits;
pub(crate) use route::{decode, form_of, is_name};

use crate::{fault::Faults, journal::Journal, lock, store::Store, token, tripwire::Tripwire};

/// A running registry. Clones are handles to the same one; it stops when the last is dropped.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<Shared>,
    /// The servers run until the last handle drops this.
    _running: Arc<watch::Sender<()>>,
}

impl Registry {
    /// Begins to set up a registry.
    #[must_use]
    pub fn builder(personality: Personality) -> Builder {
        Builder::new(personality)
    }

    /// The host and port, as it stands in a reference.
    #[must_use]
    pub fn host(&self) -> String {
        self.shared.address.to_string()
    }

    /// The address it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.shared.address
    }

    /// The URL of the registry, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        self.shared.url(self.shared.address)
    }

    /// Host and port of the second server that blob reads are redirected to, where there is one.
    #[must_use]
    pub fn blob_origin(&self) -> Option<String> {
        self.shared.blob_address.map(|address| address.to_string())
    }

    /// Host and port of the token service, where it has a server of its own.
    #[must_use]
    pub fn token_origin(&self) -> Option<String> {
        self.shared.token_address.map(|address| address.to_string())
    }

    /// What it is like.
    #[must_use]
    pub fn personality(&self) -> Personality {
        self.shared.personality
    }

    /// The account of an ECR registry.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.shared.account
    }

    /// The region of an ECR registry.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.shared.region
    }

    /// The alias of an ECR Public registry.
    #[must_use]
    pub fn alias(&self) -> &str {
        &self.shared.alias
    }

    /// Sets what `DescribeRegistries` says of that alias: `ACTIVE` until then.
    pub fn set_alias_status(&self, status: &'static str) {
        *lock(&self.shared.alias_status) = status;
    }

    pub(crate) fn alias_status(&self) -> &'static str {
        *lock(&self.shared.alias_status)
    }

    /// What it was asked.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.shared.journal
    }

    /// What goes wrong.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// What it holds.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// Counts its requests on this wire, those of all its servers.
    pub fn string(&self, wire: &Tripwire) {
        self.shared.wire.get_or_init(|| wire.clone());
    }

    /// Begins to look for manifests that are put before all below them is there, and blobs that are sent again.
    pub fn begin_audit(&self) {
        self.shared.audit.begin();
    }

    /// What was found of that.
    #[must_use]
    pub fn audited(&self) -> Vec<String> {
        self.shared.audit.found()
    }

    /// How many upload sessions are open.
    #[must_use]
    pub fn open_uploads(&self) -> usize {
        self.shared.uploads.len()
    }

    /// Closes every upload session, as a registry does after a while.
    pub fn expire_uploads(&self) {
        self.shared.uploads.clear();
    }

    /// Lets every token that was issued so far count as expired.
    pub fn expire_tokens(&self) {
        self.shared.tokens_since.store(token::now(), Ordering::SeqCst);
    }

    /// The forms that its token service was sent, as they came.
    #[must_use]
    pub fn forms(&self) -> Vec<String> {
        lock(&self.shared.forms).clone()
    }

    /// Switches ECR's account setting `BLOB_MOUNTING`, or mounting at another registry.
    pub fn set_blob_mounting(&self, on: bool) {
        self.shared.blob_mounting.store(on, Ordering::SeqCst);
    }

    /// Switches the redirects of blob reads, at a registry that was built with them.
    pub fn set_blob_redirects(&self, on: bool) {
        self.shared.redirecting.store(on, Ordering::SeqCst);
    }

    /// An `Authorization` header that an ECR or ECR Public registry accepts, for tests of the emulator itself.
    #[must_use]
    pub fn ecr_authorization(&self) -> String {
        let service = if self.shared.personality == Personality::EcrPublic { "ecr-public" } else { "ecr" };
        let principal = format!("arn:aws:iam::{}:user/test", self.shared.account);
        let lifetime = Duration::from_secs(12 * 3600);
        let password = token::ecr_password(service, &self.shared.account, &self.shared.region, &principal, lifetime);
        format!("Basic {}", token::ecr_token(&password))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

/// Who may do what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// Anybody anything.
    Open,
    /// One user, by `Basic`.
    Basic { user: String, password: String },
    /// Tokens of a token service; one user gets them.
    Tokens { user: String, password: String },
    /// Tokens of ECR's API.
    Ecr,
}

/// What all servers of a registry share.
pub(crate) struct Shared {
    pub(crate) personality: Personality,
    pub(crate) traits: Traits,
    pub(crate) credentials: Credentials,
    pub(crate) anonymous_pull: bool,
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) alias: String,
    pub(crate) alias_status: Mutex<&'static str>,
    /// Further names of an ECR Public registry, with their status.
    pub(crate) further_aliases: Vec<(String, &'static str)>,
    pub(crate) refused_artifacts: Vec<String>,
    pub(crate) validation_lag: Duration,
    pub(crate) token_lifetime: Duration,
    pub(crate) refresh_lifetime: Duration,
    pub(crate) forms: Mutex<Vec<String>>,
    /// The status for an expired ECR token.
    pub(crate) expired_status: u16,
    /// ECR: break the connection on an upload to a missing repository.
    pub(crate) missing_repository_eof: bool,
    /// Blobs up to this size are kept, larger ones only counted.
    pub(crate) keep_blobs: Option<u64>,
    /// Referrers on one page.
    pub(crate) referrers_page: Option<usize>,
    /// Entries on a page of a list, at most.
    pub(crate) list_page: Option<usize>,
    /// Docker Hub: how many manifest reads are allowed.
    pub(crate) pull_limit: Option<u64>,
    /// Harbor: the bytes that a project may hold.
    pub(crate) quota: Option<u64>,
    /// Harbor: the status where a project is full.
    pub(crate) quota_status: u16,
    /// ECR: what may be held.
    pub(crate) quotas: quotas::Quotas,
    pub(crate) pulls: AtomicU64,
    pub(crate) blob_mounting: AtomicBool,
    /// Whether blob reads are redirected, where there is a server for that.
    pub(crate) redirecting: AtomicBool,
    /// Tokens issued before this are expired.
    pub(crate) tokens_since: AtomicU64,
    pub(crate) secure: bool,
    pub(crate) address: SocketAddr,
    pub(crate) blob_address: Option<SocketAddr>,
    pub(crate) token_address: Option<SocketAddr>,
    pub(crate) store: Store,
    pub(crate) journal: Journal,
    pub(crate) faults: Faults,
    pub(crate) uploads: uploads::Uploads,
    pub(crate) buckets: Buckets,
    pub(crate) wire: OnceLock<Tripwire>,
    pub(crate) audit: audit::Audit,
}

impl Shared {
    pub(crate) fn url(&self, address: SocketAddr) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{address}")
    }

    /// The URL of an authority as the client named it.
    pub(crate) fn url_of(&self, authority: &str) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{authority}")
    }

    pub(crate) fn mounting_on(&self) -> bool {
        self.blob_mounting.load(Ordering::SeqCst)
    }

    pub(crate) fn tokens_since(&self) -> u64 {
        self.tokens_since.load(Ordering::SeqCst)
    }

    /// The service's name in challenges.
    pub(crate) fn service(&self) -> String {
        match self.personality {
            Personality::DockerHub => "registry.docker.io".to_owned(),
            Personality::Harbor => "harbor-registry".to_owned(),
            Personality::EcrPublic => "public.ecr.aws".to_owned(),
            Personality::Ghcr => "ghcr.io".to_owned(),
            _ => self.address.to_string(),
        }
    }

    /// The URL of the token service.
    pub(crate) fn realm(&self) -> String {
        let address = self.token_address.unwrap_or(self.address);
        format!("{}{}", self.url(address), self.traits.token_path.unwrap_or("/token"))
    }

    /// Where a blob can be read without credentials; without an object store, where the registry has it.
    pub(crate) fn object_url(&self, name: &str, digest: &str) -> String {
        if self.blob_address.is_some() {
            return objects::presign(self, name, digest);
        }
        format!("{}/v2/{name}/blobs/{digest}", self.url(self.address))
    }

    /// ECR's text for a repository that is not there.
    pub(crate) fn missing_repository(&self, name: &str) -> String {
        format!("The repository with name '{name}' does not exist in the registry with id '{}'", self.account)
    }
}
