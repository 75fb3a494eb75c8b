//! Setting up a registry.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64},
    },
    time::Duration,
};

use tokio::{net::TcpListener, sync::watch};
use tokio_rustls::TlsAcceptor;

use crate::{
    fault::Faults,
    journal::{Journal, Origin},
    pki::Authority,
    registry::{
        Buckets, Credentials, Personality, Registry, Shared, Traits,
        personality::{Locations, Mounting, Parents},
        quotas::Quotas,
        server::{self, Server},
        uploads::Uploads,
    },
    store::Store,
};

/// A registry to be.
pub struct Builder {
    personality: Personality,
    traits: Traits,
    credentials: Credentials,
    anonymous_pull: bool,
    tls: Option<(TlsAcceptor, TlsAcceptor)>,
    addr: SocketAddr,
    account: String,
    region: String,
    alias: String,
    further_aliases: Vec<(String, &'static str)>,
    refused_artifacts: Vec<String>,
    validation_lag: Duration,
    token_lifetime: Duration,
    refresh_lifetime: Duration,
    expired_status: u16,
    missing_repository_eof: bool,
    keep_blobs: Option<u64>,
    referrers_page: Option<usize>,
    list_page: Option<usize>,
    pull_limit: Option<u64>,
    quota: Option<u64>,
    quota_status: u16,
    pub(super) quotas: Quotas,
    blob_mounting: bool,
    max_concurrent_streams: u32,
    http1_only: bool,
    buckets: Buckets,
    store: Store,
}

impl Builder {
    pub(super) fn new(personality: Personality) -> Self {
        let traits = Traits::of(personality);
        let (credentials, token_lifetime) = match personality {
            Personality::Ecr => (Credentials::Ecr, Duration::from_secs(12 * 3600)),
            // The user is `AWS` with a password of the API.
            Personality::EcrPublic => (
                Credentials::Tokens { user: "AWS".to_owned(), password: String::new() },
                Duration::from_secs(12 * 3600),
            ),
            _ => (Credentials::Open, Duration::from_secs(300)),
        };
        Self {
            personality,
            blob_mounting: traits.mounting != Mounting::EcrRules,
            traits,
            credentials,
            anonymous_pull: personality == Personality::EcrPublic,
            tls: None,
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            account: "111122223333".to_owned(),
            region: "us-east-1".to_owned(),
            alias: "acme".to_owned(),
            further_aliases: Vec::new(),
            refused_artifacts: Vec::new(),
            validation_lag: Duration::ZERO,
            token_lifetime,
            refresh_lifetime: Duration::from_secs(3 * 3600),
            // ECR Public: aws/containers-roadmap, issue 2835.
            expired_status: if personality == Personality::EcrPublic { 400 } else { 403 },
            missing_repository_eof: false,
            keep_blobs: None,
            referrers_page: None,
            list_page: None,
            pull_limit: None,
            quota: None,
            quota_status: 412,
            quotas: Quotas::default(),
            max_concurrent_streams: 100,
            http1_only: false,
            buckets: Buckets::default(),
            store: Store::default(),
        }
    }

    /// Speak TLS with a certificate of this authority, for `127.0.0.1` and `localhost`.
    #[must_use]
    pub fn tls(self, authority: &Authority) -> Self {
        self.tls_names(authority, &["127.0.0.1", "localhost"])
    }

    /// Likewise with a choice of names.
    #[must_use]
    pub fn tls_names(mut self, authority: &Authority, names: &[&str]) -> Self {
        let certificate = authority.server(names);
        let both = TlsAcceptor::from(certificate.server_config());
        let http1 = TlsAcceptor::from(certificate.with_alpn(&["http/1.1"]));
        self.tls = Some((both, http1));
        self
    }

    /// Listen here; the default is a free port of `127.0.0.1`.
    #[must_use]
    pub fn addr(mut self, addr: SocketAddr) -> Self {
        self.addr = addr;
        self
    }

    /// Demand `Basic` authorization.
    #[must_use]
    pub fn basic(mut self, user: &str, password: &str) -> Self {
        self.credentials = Credentials::Basic { user: user.to_owned(), password: password.to_owned() };
        self
    }

    /// Demand tokens of a token service that knows this user.
    ///
    /// The service has a server of its own at a plain registry and at Docker Hub, and the provider's path at
    /// the registry's own server elsewhere. Artifact Registry knows the users `oauth2accesstoken` and `_json_key` (and
    /// its `_base64`) alone, and takes Google's access tokens beside the password given here.
    #[must_use]
    pub fn token_server(mut self, user: &str, password: &str) -> Self {
        self.credentials = Credentials::Tokens { user: user.to_owned(), password: password.to_owned() };
        self
    }

    /// Demand nothing at all, not even at ECR.
    #[must_use]
    pub fn open(mut self) -> Self {
        self.credentials = Credentials::Open;
        self
    }

    /// Let anybody read (with a token service: with an anonymous token).
    #[must_use]
    pub fn anonymous_pull(mut self) -> Self {
        self.anonymous_pull = true;
        self
    }

    /// Redirect blob reads to a second server.
    #[must_use]
    pub fn redirect_blobs(mut self) -> Self {
        self.traits.redirects_blobs = true;
        self
    }

    /// Answer blob reads without a redirect, also where the personality would.
    #[must_use]
    pub fn serve_blobs(mut self) -> Self {
        self.traits.redirects_blobs = false;
        self
    }

    /// Have the referrers API, or not.
    #[must_use]
    pub fn referrers(mut self, on: bool) -> Self {
        self.traits.referrers = on;
        self
    }

    /// Give so many referrers on one page.
    #[must_use]
    pub fn referrers_page(mut self, count: usize) -> Self {
        self.referrers_page = Some(count);
        self
    }

    /// Give so many entries at most on a page of tags, repositories or images, whatever is asked for.
    #[must_use]
    pub fn list_page(mut self, count: usize) -> Self {
        self.list_page = Some(count);
        self
    }

    /// The account of an ECR registry; the default is `111122223333`.
    #[must_use]
    pub fn account(mut self, account: &str) -> Self {
        self.account = account.to_owned();
        self
    }

    /// The region of an ECR registry; the default is `us-east-1`.
    #[must_use]
    pub fn region(mut self, region: &str) -> Self {
        self.region = region.to_owned();
        self
    }

    /// ECR Public: the alias of the registry, which its repositories begin with and its API doesn't know; the default is
    /// `acme`.
    #[must_use]
    pub fn alias(mut self, alias: &str) -> Self {
        self.alias = alias.to_owned();
        self
    }

    /// ECR Public: a further alias of the registry, as `DescribeRegistries` tells it (`ACTIVE`, `PENDING` or `REJECTED`); no
    /// repository is known by it here. The first that is active is the primary one.
    #[must_use]
    pub fn further_alias(mut self, alias: &str, status: &'static str) -> Self {
        self.further_aliases.push((alias.to_owned(), status));
        self
    }

    /// ECR: answer 405 to manifests with this `artifactType`, or config type where they have none
    /// (aws/containers-roadmap, issue 2783).
    #[must_use]
    pub fn refuse_artifacts(mut self, artifact_type: &str) -> Self {
        self.refused_artifacts.push(artifact_type.to_owned());
        self
    }

    /// ECR Public: answer a blob's `HEAD`, for clients that can't ask its API.
    #[must_use]
    pub fn answer_blob_heads(mut self) -> Self {
        self.traits.refuses_blob_head = false;
        self
    }

    /// ECR Public: answer `tags/list`, which sources disagree about.
    #[must_use]
    pub fn lists_tags(mut self) -> Self {
        self.traits.lists_tags = true;
        self
    }

    /// GHCR: end an upload so long after its beginning, instead of after ten minutes.
    #[must_use]
    pub fn upload_limit(mut self, limit: Duration) -> Self {
        self.traits.upload_limit = Some(limit);
        self
    }

    /// ECR: how long the check of manifests and the API lag behind the upload of a blob.
    #[must_use]
    pub fn validation_lag(mut self, lag: Duration) -> Self {
        self.validation_lag = lag;
        self
    }

    /// ECR: the account setting `BLOB_MOUNTING` (off by default). Elsewhere: whether mounts are granted at all.
    #[must_use]
    pub fn blob_mounting(mut self, on: bool) -> Self {
        self.blob_mounting = on;
        self
    }

    /// Whether a push makes a missing repository; personalities have their own default.
    #[must_use]
    pub fn creates_repositories(mut self, on: bool) -> Self {
        self.traits.creates_repositories = on;
        if on {
            self.traits.parents = Parents::None;
        }
        self
    }

    /// Whether `Location` of an upload is absolute.
    #[must_use]
    pub fn absolute_locations(mut self, on: bool) -> Self {
        self.traits.locations = if on { Locations::Absolute } else { Locations::Relative };
        self
    }

    /// HTTP/2: how many streams a client may have open on one connection; the default is 100.
    #[must_use]
    pub fn max_concurrent_streams(mut self, streams: u32) -> Self {
        self.max_concurrent_streams = streams;
        self
    }

    /// Speak no HTTP/2.
    #[must_use]
    pub fn http1_only(mut self) -> Self {
        self.http1_only = true;
        self
    }

    /// How long tokens hold; the default is 300 s, and 12 h for ECR.
    #[must_use]
    pub fn token_lifetime(mut self, lifetime: Duration) -> Self {
        self.token_lifetime = lifetime;
        self
    }

    /// How long refresh tokens hold; the default is ACR's 3 h.
    #[must_use]
    pub fn refresh_lifetime(mut self, lifetime: Duration) -> Self {
        self.refresh_lifetime = lifetime;
        self
    }

    /// ECR: the status for an expired token; the default is 403, and 400 at ECR Public.
    #[must_use]
    pub fn expired_status(mut self, status: u16) -> Self {
        self.expired_status = status;
        self
    }

    /// ECR: break the connection on an upload to a missing repository instead of answering 404.
    #[must_use]
    pub fn missing_repository_eof(mut self) -> Self {
        self.missing_repository_eof = true;
        self
    }

    /// Keep only digest and size of uploaded blobs larger than 64 KiB, for tests of many gigabytes.
    #[must_use]
    pub fn discard_blobs(mut self) -> Self {
        self.keep_blobs = Some(64 * 1024);
        self
    }

    /// Take manifests without looking for what they refer to.
    #[must_use]
    pub fn believe_manifests(mut self) -> Self {
        self.traits.checks_references = false;
        self
    }

    /// ECR: the request rates of its service quotas.
    #[must_use]
    pub fn rate_limits(mut self, on: bool) -> Self {
        self.buckets = if on { Buckets::quotas(self.personality) } else { Buckets::default() };
        self
    }

    /// ECR: one request rate, such as `PutImage`, in requests a second.
    #[must_use]
    pub fn rate_limit(self, operation: &'static str, per_second: u32) -> Self {
        self.buckets.limit(operation, per_second);
        self
    }

    /// Docker Hub: how many manifest reads are allowed before it answers 429.
    #[must_use]
    pub fn pull_limit(mut self, pulls: u64) -> Self {
        self.pull_limit = Some(pulls);
        self
    }

    /// Harbor: how many bytes of blobs its repositories may hold before uploads are refused with 412.
    #[must_use]
    pub fn quota(mut self, bytes: u64) -> Self {
        self.quota = Some(bytes);
        self
    }

    /// Harbor: answer 500 where a project is full, as version 1.9 did (goharbor/harbor, issue 11647).
    #[must_use]
    pub fn quota_answers_500(mut self) -> Self {
        self.quota_status = 500;
        self
    }

    /// ACR: break the connection at a body that is too large, instead of answering 413 (goharbor/harbor, issue 23015).
    #[must_use]
    pub fn breaks_off_large_bodies(mut self) -> Self {
        self.traits.breaks_off_large_bodies = true;
        self
    }

    /// Say `OCI-Chunk-Min-Length`, and refuse smaller chunks but the last.
    #[must_use]
    pub fn least_chunk(mut self, bytes: u64) -> Self {
        self.traits.least_chunk = Some(bytes);
        self
    }

    /// Refuse larger `PATCH`es: what ECR's quotas say of parts is not known of these.
    #[must_use]
    pub fn largest_part(mut self, bytes: u64) -> Self {
        self.traits.largest_part = Some(bytes);
        self
    }

    /// Whether a `GET` of an upload is answered: no source says that ECR does.
    #[must_use]
    pub fn answers_upload_status(mut self, on: bool) -> Self {
        self.traits.upload_status = on;
        self
    }

    /// Serve the content of another registry.
    #[must_use]
    pub fn store(mut self, store: &Store) -> Self {
        self.store = store.clone();
        self
    }

    /// The host that an ECR registry to be is known by.
    #[must_use]
    pub fn ecr_host(&self) -> Option<String> {
        let host = format!("{}.dkr.ecr.{}.amazonaws.com", self.account, self.region);
        (self.personality == Personality::Ecr).then_some(host)
    }

    /// Starts the servers on the current runtime.
    pub async fn start(self) -> Registry {
        let own_token_server =
            matches!(self.credentials, Credentials::Tokens { .. }) && self.traits.token_path.is_none();
        let beside = SocketAddr::new(self.addr.ip(), 0);
        let registry = listen(self.addr).await;
        let blobs = if self.traits.redirects_blobs { Some(listen(beside).await) } else { None };
        let tokens = if own_token_server { Some(listen(beside).await) } else { None };
        let address = |listener: &TcpListener| listener.local_addr().expect("a listener has an address");
        let (running, stop) = watch::channel(());
        let shared = Arc::new(Shared {
            personality: self.personality,
            traits: self.traits,
            credentials: self.credentials,
            anonymous_pull: self.anonymous_pull,
            account: self.account,
            region: self.region,
            alias: self.alias,
            alias_status: Mutex::new("ACTIVE"),
            further_aliases: self.further_aliases,
            refused_artifacts: self.refused_artifacts,
            validation_lag: self.validation_lag,
            token_lifetime: self.token_lifetime,
            refresh_lifetime: self.refresh_lifetime,
            forms: Mutex::default(),
            expired_status: self.expired_status,
            missing_repository_eof: self.missing_repository_eof,
            keep_blobs: self.keep_blobs,
            referrers_page: self.referrers_page,
            list_page: self.list_page,
            pull_limit: self.pull_limit,
            quota: self.quota,
            quota_status: self.quota_status,
            quotas: self.quotas,
            pulls: AtomicU64::new(0),
            blob_mounting: AtomicBool::new(self.blob_mounting),
            redirecting: AtomicBool::new(true),
            tokens_since: AtomicU64::new(0),
            secure: self.tls.is_some(),
            address: address(&registry),
            blob_address: blobs.as_ref().map(address),
            token_address: tokens.as_ref().map(address),
            store: self.store,
            journal: Journal::default(),
            faults: Faults::default(),
            uploads: Uploads::default(),
            buckets: self.buckets,
            wire: OnceLock::new(),
            audit: Default::default(),
        });
        let acceptor = self.tls.map(|(both, http1)| if self.http1_only { http1 } else { both });
        let listeners = [(Origin::Registry, Some(registry)), (Origin::Blobs, blobs), (Origin::Tokens, tokens)];
        for (origin, listener) in listeners {
            let Some(listener) = listener else { continue };
            let server = Server {
                shared: Arc::clone(&shared),
                origin,
                acceptor: acceptor.clone(),
                max_concurrent_streams: self.max_concurrent_streams,
                http1_only: self.http1_only,
            };
            tokio::spawn(server::run(server, listener, stop.clone()));
        }
        Registry { shared, _running: Arc::new(running) }
    }
}

async fn listen(addr: SocketAddr) -> TcpListener {
    TcpListener::bind(addr).await.expect("the address is free")
}
