//! The composition root: from settings to a ready [`Syncer`]. The only module that names every other; no logic.
//!
//! Nothing here connects, and no client is made: each is made when it is first needed, so that a cold start costs the
//! configuration alone.

mod own_api;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, atomic::AtomicU64},
    time::Duration,
};

use futures::future::BoxFuture;
use own_api::{OwnApi, OwnManifests};
use url::Url;

use crate::{
    aws::{Aws, IdentitySource, failure},
    azure::AcrLogin,
    backfill::{Backfiller, Listings},
    config::{Config, RegistryConfig},
    ecr::{
        EcrApi, EcrArchive, EcrAvailability, EcrListing, EcrLogin, EcrPublicApi, EcrPublicAvailability, EcrPublicLogin,
        EcrPublicRepositories, EcrPublicTags, EcrRepositories, EcrScans, EcrTags,
    },
    error::{Error, ErrorType},
    google::GoogleLogin,
    limits::{ADAPTIVE_WINDOW_BYTES, ByteBudget, LayerAvailability, Pulls, StreamCap},
    oci::Reference,
    provider::Provider,
    queue::{SourceQueues, SqsQueue},
    registry::{
        AnonymousLogin, Authenticator, BlobsAt, Lacks, LastTags, Listing, LoginSource, OciListing, OciTags, Quotas,
        RegistryClient, Repository, Run, SentLately, Side, Untagging, UploadLimit,
    },
    retry::RetryPolicy,
    secrets::{IdentityLogin, SecretLogin, SecretStore},
    settings::{ConfigSource, Environment},
    sync::{
        Destination, Ends, ManifestPresence, RemovalEnds, Remover, RepositoryCreation, ScanFindings, Source,
        SourceDiagnosis, Syncer, TagsAt,
    },
    transport::{Clients, Meter, Origin, ReceiveWindow, Transport, TransportSettings},
};

/// All that a function is made of.
pub struct App {
    /// The environment.
    pub environment: Environment,
    /// The configuration.
    pub config: Arc<Config>,
    /// Syncs images.
    pub syncer: Syncer,
    /// Lists what registries have.
    pub listings: Arc<dyn Listings>,
    /// Removes tags that were deleted at their source.
    pub remover: Remover,
    /// Finds images that are missing at destinations.
    pub backfiller: Backfiller,
    /// The work queue, where there is one.
    pub queue: Option<SqsQueue>,
    /// The dead-letter queue, where there is one.
    pub dead_letters: Option<SqsQueue>,
    /// The queues that messages come from.
    pub source_queues: SourceQueues,
}

/// What is not to be configured: measurements and tests turn it, to see what each default is worth.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tuning {
    /// Instead of the window that follows from the byte budget.
    pub window: Option<ReceiveWindow>,
    /// h2 connections to one host, instead of [`CONNECTIONS`].
    pub connections: Option<u32>,
    /// Streams towards each registry, whatever is configured; a huge number switches the cap off.
    pub streams: Option<u32>,
    /// Blobs at once, instead of `limits.blob_concurrency` and its range.
    pub blob_concurrency: Option<u32>,
    /// How long an upload may take where a registry has such a limit, instead of its own.
    pub upload_limit: Option<Duration>,
}

/// h2 connections to one host (`docs/limits.md` has the measurement).
const CONNECTIONS: u32 = 1;

impl App {
    /// Reads and checks the configuration and puts everything together.
    ///
    /// # Errors
    /// `InvalidConfig`, or what reading the SSM parameter meets.
    pub async fn new(environment: Environment) -> Result<Self, Error> {
        Self::tuned(environment, Tuning::default()).await
    }

    /// The same, tuned for a measurement or a test.
    ///
    /// # Errors
    /// `InvalidConfig`, or what reading the SSM parameter meets.
    pub async fn tuned(environment: Environment, tuning: Tuning) -> Result<Self, Error> {
        let aws = Arc::new(Aws::default());
        let text = config_text(&environment, &aws).await?;
        let mut config = Config::parse(&text, &environment)?;
        config.limits.blob_concurrency = tuning.blob_concurrency.unwrap_or(config.limits.blob_concurrency);
        let config = Arc::new(config);
        let budget = ByteBudget::new(config.limits.buffer_bytes);
        let registries = Arc::new(Registries::new(Arc::clone(&config), Arc::clone(&aws), &budget, tuning));
        let queue = |url: &Option<String>| url.clone().map(|url| SqsQueue::new(Arc::clone(&aws), url));
        Ok(Self {
            listings: Arc::clone(&registries) as Arc<dyn Listings>,
            backfiller: Backfiller::new(
                Arc::clone(&registries) as Arc<dyn Listings>,
                Arc::clone(&config),
                budget.clone(),
            ),
            remover: Remover::new(Arc::clone(&registries) as Arc<dyn RemovalEnds>, budget.clone()),
            syncer: Syncer::new(registries, config.limits, budget),
            queue: queue(&environment.queue_url),
            dead_letters: queue(&environment.dead_letter_queue_url),
            source_queues: SourceQueues::new(Arc::clone(&aws), environment.queue_url.clone()),
            config,
            environment,
        })
    }
}

async fn config_text(environment: &Environment, aws: &Aws) -> Result<String, Error> {
    match environment.config_source()? {
        ConfigSource::Inline(text) => Ok(text),
        ConfigSource::File(path) => tokio::task::spawn_blocking(move || {
            std::fs::read_to_string(&path).map_err(|error| {
                Error::new(ErrorType::InvalidConfig, format!("TRANSSHIP_CONFIG: {}: {error}", path.display()))
            })
        })
        .await
        .unwrap_or_else(|error| Err(Error::new(ErrorType::InvalidConfig, error.to_string()))),
        ConfigSource::Parameter(name) => {
            let client = aws_sdk_ssm::Client::new(aws.config().await);
            let answer = client.get_parameter().name(&name).with_decryption(true).send().await;
            let doing = format!("TRANSSHIP_CONFIG: reading the SSM parameter {name}");
            let answer = answer.map_err(|error| failure(&doing, &error))?;
            let value = answer.parameter().and_then(|parameter| parameter.value()).map(str::to_owned);
            value.ok_or_else(|| Error::new(ErrorType::InvalidConfig, format!("{doing}: it is empty")))
        }
    }
}

/// The registries of a process, each made once.
struct Registries {
    config: Arc<Config>,
    aws: Arc<Aws>,
    secrets: Arc<SecretStore>,
    clients: Arc<Clients>,
    configured: Vec<Origin>,
    tuning: Tuning,
    made: Mutex<HashMap<String, Known>>,
}

/// One registry, and its ECR API if it has one.
#[derive(Clone)]
struct Known {
    client: Arc<RegistryClient>,
    api: Option<Api>,
    repositories: Option<Repositories>,
}

/// What a registry of AWS has beside the distribution specification.
#[derive(Clone)]
enum Api {
    Private(Arc<EcrApi>),
    Public(Arc<EcrPublicApi>),
}

/// Who creates repositories.
#[derive(Clone)]
enum Repositories {
    Private(Arc<EcrRepositories>),
    Public(Arc<EcrPublicRepositories>),
}

impl Registries {
    fn new(config: Arc<Config>, aws: Arc<Aws>, budget: &ByteBudget, tuning: Tuning) -> Self {
        let configured = config.endpoints().filter_map(Origin::of).collect();
        // Where the budget has no room for what an adaptive window may grow to, it has a fixed one.
        let window = tuning.window.unwrap_or(match budget.receive_window() {
            ADAPTIVE_WINDOW_BYTES.. => ReceiveWindow::Adaptive,
            bytes => ReceiveWindow::Fixed(u32::try_from(bytes).unwrap_or(u32::MAX >> 1)),
        });
        let connections = tuning.connections.unwrap_or(CONNECTIONS);
        let clients = Clients::new(window, budget.receiving(), connections, config.limits.request_timeout);
        let clients = Arc::new(clients);
        let secrets = Arc::new(SecretStore::new(Arc::clone(&aws)));
        Self { config, aws, secrets, clients, configured, tuning, made: Mutex::default() }
    }

    fn known(&self, host: &str) -> Result<Known, Error> {
        // Held for a look-up or for putting parts together; a poisoned map still holds whole entries.
        let mut made = self.made.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = made.get(host) {
            return Ok(known.clone());
        }
        let known = self.make(self.config.registry(host))?;
        made.insert(host.to_owned(), known.clone());
        Ok(known)
    }

    fn make(&self, registry: RegistryConfig) -> Result<Known, Error> {
        let transport = self.way_to_registry(&registry)?;
        let secret = self.secret(&registry);
        let api = self.api(&registry, secret.as_ref());
        let repositories = registry.create_repository.clone().zip(api.clone()).map(|(settings, api)| match api {
            Api::Private(api) => Repositories::Private(Arc::new(EcrRepositories::new(api, settings))),
            Api::Public(api) => Repositories::Public(Arc::new(EcrPublicRepositories::new(api, settings))),
        });
        let streams = self.tuning.streams.unwrap_or(registry.streams);
        let upload_limit = registry.provider.upload_limit();
        let client = RegistryClient {
            provider: registry.provider,
            transport,
            auth: self.authenticator(&registry, api.as_ref(), secret)?,
            streams: StreamCap::new(streams),
            policy: self.policy(),
            quotas: Quotas::new(registry.provider, streams),
            pulls: Pulls::default(),
            sent: SentLately::default(),
            lacks: Lacks::default(),
            last_tags: LastTags::default(),
            blobs_at: BlobsAt::default(),
            least_chunk: AtomicU64::new(0),
            upload_limit: UploadLimit(upload_limit.map(|limit| self.tuning.upload_limit.unwrap_or(limit))),
            host: registry.host,
        };
        Ok(Known { client: Arc::new(client), api, repositories })
    }

    fn way_to_registry(&self, registry: &RegistryConfig) -> Result<Transport, Error> {
        let settings = TransportSettings {
            endpoint: registry.endpoint.clone(),
            ca_certificate: registry.ca_certificate.clone(),
            configured: self.configured.clone(),
            redirects: registry.redirects.clone(),
            stall: self.config.limits.request_timeout,
        };
        self.way(settings, &registry.host)
    }

    /// The way to a service that gives logins for a registry, and to `beside`, which belongs to it.
    fn way_to_login(
        &self,
        registry: &RegistryConfig,
        endpoint: &Url,
        beside: &[&Url],
        ca_certificate: &Option<Arc<str>>,
    ) -> Result<Transport, Error> {
        let settings = TransportSettings {
            endpoint: endpoint.clone(),
            ca_certificate: ca_certificate.clone(),
            configured: beside.iter().filter_map(|url| Origin::of(url)).collect(),
            redirects: Vec::new(),
            stall: self.config.limits.request_timeout,
        };
        self.way(settings, &registry.host)
    }

    fn way(&self, settings: TransportSettings, host: &str) -> Result<Transport, Error> {
        let endpoint = settings.endpoint.clone();
        Transport::new(Arc::clone(&self.clients), settings).ok_or_else(|| {
            Error::new(ErrorType::InvalidConfig, format!("registries.{host}: the endpoint {endpoint} has no host"))
        })
    }

    fn secret(&self, registry: &RegistryConfig) -> Option<Arc<SecretLogin>> {
        let source = registry.credentials.clone()?;
        let secrets = Arc::clone(&self.secrets);
        Some(Arc::new(SecretLogin::new(secrets, source, &registry.host, registry.provider)))
    }

    fn api(&self, registry: &RegistryConfig, secret: Option<&Arc<SecretLogin>>) -> Option<Api> {
        let (aws, role) = (Arc::clone(&self.aws), registry.role.clone());
        let identity = secret.map(|secret| Arc::clone(secret) as Arc<dyn IdentitySource>);
        match (registry.provider, &registry.ecr) {
            (Provider::EcrPublic, _) => Some(Api::Public(Arc::new(EcrPublicApi::new(aws, role)))),
            (Provider::Ecr, Some(home)) => Some(Api::Private(Arc::new(EcrApi::new(aws, home.clone(), role, identity)))),
            _ => None,
        }
    }

    fn authenticator(
        &self,
        registry: &RegistryConfig,
        api: Option<&Api>,
        secret: Option<Arc<SecretLogin>>,
    ) -> Result<Authenticator, Error> {
        Ok(match (api, secret) {
            (Some(Api::Private(api)), Some(secret)) => {
                let by_api = Box::new(EcrLogin::new(Arc::clone(api)));
                Authenticator::basic(Box::new(IdentityLogin::new(secret, by_api)))
            }
            (Some(Api::Private(api)), None) => Authenticator::basic(Box::new(EcrLogin::new(Arc::clone(api)))),
            (_, Some(secret)) => Authenticator::challenged(self.exchanged(registry, secret)?),
            (Some(Api::Public(api)), None) => Authenticator::challenged(Box::new(EcrPublicLogin::new(Arc::clone(api)))),
            (None, None) => Authenticator::challenged(self.without_secret(registry)?),
        })
    }

    /// What a secret is worth at its registry: itself, or what a cloud gives for it.
    fn exchanged(&self, registry: &RegistryConfig, secret: Arc<SecretLogin>) -> Result<Box<dyn LoginSource>, Error> {
        let Some(authority) = &registry.authority else { return Ok(Box::new(secret)) };
        let way = self.way_to_login(registry, &authority.endpoint, &[], &authority.ca_certificate)?;
        let own = self.way_to_registry(registry)?;
        Ok(Box::new(AcrLogin::new(Box::new(secret), &registry.host, own, way, self.policy())))
    }

    fn without_secret(&self, registry: &RegistryConfig) -> Result<Box<dyn LoginSource>, Error> {
        let Some(identity) = &registry.workload_identity else { return Ok(Box::new(AnonymousLogin)) };
        let beside = [&identity.iam_endpoint];
        let way = self.way_to_login(registry, &identity.token_endpoint, &beside, &identity.ca_certificate)?;
        Ok(Box::new(GoogleLogin::new(Arc::clone(&self.aws), identity.clone(), way, self.policy())))
    }

    fn policy(&self) -> RetryPolicy {
        RetryPolicy { max_attempts: self.config.limits.max_attempts }
    }
}

impl Ends for Registries {
    fn source(&self, reference: &Reference, run: Run) -> Result<Source, Error> {
        let known = self.known(reference.registry())?;
        let name = reference.repository();
        let own = match known.api {
            Some(Api::Private(api)) => {
                let (archive, scans) = (EcrArchive::new(Arc::clone(&api)), EcrScans::new(api));
                Some(Arc::new(OwnApi { archive, scans, name: name.to_owned(), meter: Arc::clone(&run.meter) }))
            }
            Some(Api::Public(_)) | None => None,
        };
        let diagnosis = own.clone().map(|own| own as Arc<dyn SourceDiagnosis>);
        let scans = own.map(|own| own as Arc<dyn ScanFindings>);
        Ok(Source { repository: Repository::source(known.client, name, run), diagnosis, scans })
    }

    fn destination(&self, reference: &Reference, source: &Reference, run: Run) -> Result<Destination, Error> {
        let known = self.known(reference.registry())?;
        let same_registry = source.registry() == reference.registry() && source.repository() != reference.repository();
        let mount_from = same_registry.then(|| source.repository().to_owned());
        let name = reference.repository();
        let manifests = match &known.api {
            Some(Api::Private(api)) => {
                let listing = EcrListing::new(Arc::clone(api), Arc::clone(&run.meter));
                Some(Arc::new(OwnManifests { listing, name: name.to_owned() }) as Arc<dyn ManifestPresence>)
            }
            Some(Api::Public(_)) | None => None,
        };
        let availability = known.api.map(|api| -> Arc<dyn LayerAvailability> {
            match api {
                Api::Private(api) => Arc::new(EcrAvailability::new(api, name, Arc::clone(&run.meter))),
                Api::Public(api) => Arc::new(EcrPublicAvailability::new(api, name, Arc::clone(&run.meter))),
            }
        });
        let creation = known.repositories.map(|repositories| -> Arc<dyn RepositoryCreation> {
            Arc::new(Creation { repositories, name: name.to_owned(), meter: Arc::clone(&run.meter) })
        });
        let repository = Repository::destination(known.client, name, mount_from.as_deref(), run);
        Ok(Destination { repository, mount_from, manifests, availability, creation })
    }
}

impl RemovalEnds for Registries {
    fn tags(&self, reference: &Reference, run: Run) -> Result<TagsAt, Error> {
        let known = self.known(reference.registry())?;
        let (name, meter) = (reference.repository(), Arc::clone(&run.meter));
        let untagging: Arc<dyn Untagging> = match known.api {
            Some(Api::Private(api)) => Arc::new(EcrTags::new(api, name, meter)),
            Some(Api::Public(api)) => Arc::new(EcrPublicTags::new(api, name, meter)),
            None => Arc::new(OciTags::new(Arc::clone(&known.client), name, run.clone())?),
        };
        Ok(TagsAt { repository: Repository::destination(known.client, name, None, run), untagging })
    }
}

impl Listings for Registries {
    fn listing(&self, host: &str, side: Side, run: Run) -> Result<Arc<dyn Listing>, Error> {
        let known = self.known(host)?;
        Ok(match known.api {
            Some(Api::Private(api)) => Arc::new(EcrListing::new(api, run.meter)),
            Some(Api::Public(_)) | None => Arc::new(OciListing::new(known.client, side, run)),
        })
    }
}

/// Creates one ECR repository.
struct Creation {
    repositories: Repositories,
    name: String,
    meter: Arc<Meter>,
}

impl RepositoryCreation for Creation {
    fn create(&self) -> BoxFuture<'_, Result<(), Error>> {
        match &self.repositories {
            Repositories::Private(repositories) => Box::pin(repositories.create(&self.name, &self.meter)),
            Repositories::Public(repositories) => Box::pin(repositories.create(&self.name, &self.meter)),
        }
    }

    fn complete(&self) -> BoxFuture<'_, Result<(), Error>> {
        match &self.repositories {
            Repositories::Private(repositories) => Box::pin(repositories.complete(&self.name, &self.meter)),
            // It is made in one call.
            Repositories::Public(_) => Box::pin(async { Ok(()) }),
        }
    }
}
