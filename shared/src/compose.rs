//! The composition root: from settings to a ready [`Syncer`]. The only module that names every other; no logic.
//!
//! Nothing here connects, and no client is made: each is made when it is first needed, so that a cold start costs the
//! configuration alone.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, atomic::AtomicU64},
};

use futures::future::BoxFuture;

use crate::{
    aws::{Aws, failure},
    config::{Config, RegistryConfig},
    ecr::{EcrApi, EcrAvailability, EcrLogin, EcrPublicLogin, EcrRepositories},
    error::{Error, ErrorType},
    limits::{ADAPTIVE_WINDOW_BYTES, ByteBudget, LayerAvailability, Pulls, StreamCap},
    oci::Reference,
    provider::Provider,
    queue::SqsQueue,
    registry::{
        AnonymousLogin, Authenticator, BlobsAt, LoginSource, Quotas, RegistryClient, Repository, Run, SentLately,
    },
    retry::RetryPolicy,
    secrets::SecretLogin,
    settings::{ConfigSource, Environment},
    sync::{Destination, Ends, RepositoryCreation, Syncer},
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
    /// The work queue, where there is one.
    pub queue: Option<SqsQueue>,
    /// The dead-letter queue, where there is one.
    pub dead_letters: Option<SqsQueue>,
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
        let registries = Registries::new(Arc::clone(&config), Arc::clone(&aws), &budget, tuning);
        let queue = |url: &Option<String>| url.clone().map(|url| SqsQueue::new(Arc::clone(&aws), url));
        Ok(Self {
            syncer: Syncer::new(Arc::new(registries), config.limits, budget),
            queue: queue(&environment.queue_url),
            dead_letters: queue(&environment.dead_letter_queue_url),
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
    clients: Arc<Clients>,
    configured: Vec<Origin>,
    tuning: Tuning,
    made: Mutex<HashMap<String, Known>>,
}

/// One registry, and its ECR API if it has one.
#[derive(Clone)]
struct Known {
    client: Arc<RegistryClient>,
    api: Option<Arc<EcrApi>>,
    repositories: Option<Arc<EcrRepositories>>,
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
        Self { config, aws, clients, configured, tuning, made: Mutex::default() }
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
        let limits = self.config.limits;
        let settings = TransportSettings {
            endpoint: registry.endpoint.clone(),
            ca_certificate: registry.ca_certificate.clone(),
            configured: self.configured.clone(),
            redirects: registry.redirects.clone(),
            stall: limits.request_timeout,
        };
        let transport = Transport::new(Arc::clone(&self.clients), settings).ok_or_else(|| {
            Error::new(ErrorType::InvalidConfig, format!("registries.{}: its endpoint has no host", registry.host))
        })?;
        let api = registry
            .ecr
            .clone()
            .filter(|_| registry.speaks_ecr())
            .map(|home| Arc::new(EcrApi::new(Arc::clone(&self.aws), home, registry.role.clone())));
        let repositories = match (&api, &registry.create_repository) {
            (Some(api), Some(settings)) => Some(Arc::new(EcrRepositories::new(Arc::clone(api), settings.clone()))),
            _ => None,
        };
        let streams = self.tuning.streams.unwrap_or(registry.streams);
        let client = RegistryClient {
            provider: registry.provider,
            transport,
            auth: self.authenticator(&registry, api.as_ref()),
            streams: StreamCap::new(streams),
            policy: RetryPolicy { max_attempts: limits.max_attempts },
            quotas: Quotas::new(registry.provider, streams),
            pulls: Pulls::default(),
            sent: SentLately::default(),
            blobs_at: BlobsAt::default(),
            least_chunk: AtomicU64::new(0),
            host: registry.host,
        };
        Ok(Known { client: Arc::new(client), api, repositories })
    }

    fn authenticator(&self, registry: &RegistryConfig, api: Option<&Arc<EcrApi>>) -> Authenticator {
        let aws = || Arc::clone(&self.aws);
        let configured = registry
            .credentials
            .clone()
            .map(|source| -> Box<dyn LoginSource> { Box::new(SecretLogin::new(aws(), source, &registry.host)) });
        match (configured, registry.provider, api) {
            (Some(login), Provider::Ecr, _) => Authenticator::basic(login),
            (Some(login), _, _) => Authenticator::challenged(login),
            (None, Provider::Ecr, Some(api)) => Authenticator::basic(Box::new(EcrLogin::new(Arc::clone(api)))),
            (None, Provider::EcrPublic, _) => {
                Authenticator::challenged(Box::new(EcrPublicLogin::new(aws(), registry.role.clone())))
            }
            (None, _, _) => Authenticator::challenged(Box::new(AnonymousLogin)),
        }
    }
}

impl Ends for Registries {
    fn source(&self, reference: &Reference, run: Run) -> Result<Repository, Error> {
        Ok(Repository::source(self.known(reference.registry())?.client, reference.repository(), run))
    }

    fn destination(&self, reference: &Reference, source: &Reference, run: Run) -> Result<Destination, Error> {
        let known = self.known(reference.registry())?;
        let same_registry = source.registry() == reference.registry() && source.repository() != reference.repository();
        let mount_from = same_registry.then(|| source.repository().to_owned());
        let name = reference.repository();
        let availability = known.api.map(|api| -> Arc<dyn LayerAvailability> {
            Arc::new(EcrAvailability::new(api, name, Arc::clone(&run.meter)))
        });
        let creation = known.repositories.map(|repositories| -> Arc<dyn RepositoryCreation> {
            Arc::new(Creation { repositories, name: name.to_owned(), meter: Arc::clone(&run.meter) })
        });
        let repository = Repository::destination(known.client, name, mount_from.as_deref(), run);
        Ok(Destination { repository, mount_from, availability, creation })
    }
}

/// Creates one ECR repository.
struct Creation {
    repositories: Arc<EcrRepositories>,
    name: String,
    meter: Arc<Meter>,
}

impl RepositoryCreation for Creation {
    fn create(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.repositories.create(&self.name, &self.meter))
    }
}
