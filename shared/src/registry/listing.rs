//! Lists, a page at a time: the tags of a repository, the repositories of a registry, and what stands behind tags.

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use futures::{StreamExt, TryStreamExt, future::BoxFuture, stream};
use serde::Deserialize;
use url::Url;

use super::{RegistryClient, Repository, Run, Side, request::Operation};
use crate::{
    error::{Error, ErrorType},
    oci::Digest,
    provider::Action,
};

/// Entries of a page that are asked for. ECR and distribution 3 refuse more; registries may give fewer.
const PAGE: usize = 1000;

/// Manifests that are asked for at once.
const AT_ONCE: usize = 16;

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// Its entries, in the registry's order.
    pub entries: Vec<T>,
    /// Where the next page begins, in the listing's own words; `None`: this is the last one.
    pub next: Option<String>,
}

/// An image of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedImage {
    /// Tags that point to it, one at least.
    pub tags: Vec<String>,
    /// Its digest, where the list tells it.
    pub digest: Option<Digest>,
    /// When it was pushed, where the list tells it.
    pub pushed_at: Option<SystemTime>,
}

/// What a registry has: over ECR's API, or as the distribution specification says. Nobody holds more than a page.
pub trait Listing: Send + Sync {
    /// A page of the registry's repositories; `at` is the last page's [`Page::next`].
    fn repositories<'a>(&'a self, at: Option<&'a str>) -> BoxFuture<'a, Result<Page<String>, Error>>;

    /// A page of a repository's tagged images.
    fn images<'a>(
        &'a self,
        repository: &'a str,
        at: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Page<ListedImage>, Error>>;

    /// What a repository has under these tags or digests. One that is missing in the answer is not there (nor is, maybe,
    /// the repository); `None` stands for a registry that doesn't say the digest.
    fn digests<'a>(
        &'a self,
        repository: &'a str,
        targets: &'a [String],
    ) -> BoxFuture<'a, Result<HashMap<String, Option<Digest>>, Error>>;

    /// Whether images come with the time of their push.
    fn tells_times(&self) -> bool;
}

/// The lists of a registry as the distribution specification has them: `tags/list`, `_catalog`, and `HEAD`s.
#[derive(Debug)]
pub struct OciListing {
    client: Arc<RegistryClient>,
    side: Side,
    run: Run,
}

impl OciListing {
    /// The lists of one end of a run.
    #[must_use]
    pub fn new(client: Arc<RegistryClient>, side: Side, run: Run) -> Self {
        Self { client, side, run }
    }

    fn repository(&self, name: &str) -> Repository {
        match self.side {
            Side::Source => Repository::source(Arc::clone(&self.client), name, self.run.clone()),
            Side::Destination => Repository::destination(Arc::clone(&self.client), name, None, self.run.clone()),
        }
    }

    async fn catalog(&self, at: Option<&str>) -> Result<Page<String>, Error> {
        let catalog = Repository::catalog(Arc::clone(&self.client), self.run.clone());
        let mut url = self.client.transport.endpoint().clone();
        url.set_path("/v2/_catalog");
        let page: Result<Page<String>, Error> =
            catalog.page("repositories", url, at, |list: Repositories| list.repositories).await;
        page.map_err(|error| match error.error_type {
            ErrorType::SourceNotFound | ErrorType::Denied | ErrorType::Unauthorized => Error {
                error_type: if error.error_type == ErrorType::Unauthorized {
                    ErrorType::Unauthorized
                } else {
                    ErrorType::Denied
                },
                message: format!(
                    "{} (GET /v2/_catalog needs the right registry:catalog:*, which many registries give to nobody; name \
                     each repository instead of a glob)",
                    error.message
                ),
                ..error
            },
            _ => error,
        })
    }
}

impl Listing for OciListing {
    fn repositories<'a>(&'a self, at: Option<&'a str>) -> BoxFuture<'a, Result<Page<String>, Error>> {
        Box::pin(self.catalog(at))
    }

    fn images<'a>(
        &'a self,
        repository: &'a str,
        at: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Page<ListedImage>, Error>> {
        Box::pin(async move {
            let page = self.repository(repository).tag_page(at).await?;
            let image = |tag| ListedImage { tags: vec![tag], digest: None, pushed_at: None };
            Ok(Page { entries: page.entries.into_iter().map(image).collect(), next: page.next })
        })
    }

    fn digests<'a>(
        &'a self,
        repository: &'a str,
        targets: &'a [String],
    ) -> BoxFuture<'a, Result<HashMap<String, Option<Digest>>, Error>> {
        Box::pin(async move {
            let repository = &self.repository(repository);
            let heads: Vec<_> = targets
                .iter()
                .map(|target| async move {
                    let head = repository.head_manifest(target).await?;
                    Ok::<_, Error>(head.map(|head| (target.clone(), head.digest)))
                })
                .collect();
            let found: Vec<_> = stream::iter(heads).buffer_unordered(AT_ONCE).try_collect().await?;
            Ok(found.into_iter().flatten().collect())
        })
    }

    fn tells_times(&self) -> bool {
        false
    }
}

/// `null` stands for none at some registries.
#[derive(Deserialize)]
struct Tags {
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Repositories {
    repositories: Option<Vec<String>>,
}

impl Repository {
    /// A page of the repository's tags; `at` is the last page's [`Page::next`].
    ///
    /// # Errors
    /// All that a request can meet.
    pub async fn tag_page(&self, at: Option<&str>) -> Result<Page<String>, Error> {
        self.page("tags", self.url("tags/list"), at, |list: Tags| list.tags).await
    }

    /// Reads one page. Where it begins is a query of `url`, and nothing else: no answer leads anywhere else.
    async fn page<L: for<'de> Deserialize<'de>>(
        &self,
        what: &str,
        mut url: Url,
        at: Option<&str>,
        entries: impl Fn(L) -> Option<Vec<String>>,
    ) -> Result<Page<String>, Error> {
        let operation = Operation::new(Action::List, what);
        match at {
            Some(query) => url.set_query(Some(query)),
            None => url.set_query(Some(&format!("n={PAGE}"))),
        }
        let (list, next) = self.list_page(&operation, &url).await?;
        let list: L = serde_json::from_slice(&list).map_err(|error| {
            let text = format!("{}: the answer is no list of {what} ({error})", self.doing(&operation));
            Error::new(ErrorType::Unavailable, text)
        })?;
        Ok(Page { entries: entries(list).unwrap_or_default(), next })
    }
}
