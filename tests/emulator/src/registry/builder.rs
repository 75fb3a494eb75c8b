//! Setting up a registry.

mod behaviour;

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
        personality::Mounting,
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
