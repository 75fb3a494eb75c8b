//! Lists, a page at a time: the tags of a repository, the repositories of a registry, and what stands behind tags.

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use futures::{StreamExt, TryStreamExt, future::BoxFuture, stream};
use http::{Method, StatusCode, header::LINK};
use serde::Deserialize;
use url::Url;

use super::{RegistryClient, Repository, Run, Side, request::Operation};
use crate::{
    error::{Error, ErrorType},
    oci::Digest,
    provider::Action,
    transport::{Request, Response, TransportError},
};

/// Entries of a page that are asked for. ECR and distribution 3 refuse more; registries may give fewer.
const PAGE: usize = 1000;

/// A page may have so many bytes: a thousand tags or names of the greatest length take a sixteenth of it, and a registry
/// that knows no pages may have a hundred thousand. Chosen: what a manifest may have.
const MAX_PAGE_BYTES: u64 = 4 * 1024 * 1024;

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
            let repository = self.repository(repository);
            let url = repository.url("tags/list");
            let page = repository.page("tags", url, at, |list: Tags| list.tags).await?;
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
        let mut attempt = 0;
        loop {
            attempt += 1;
            let response = self.send(&operation, Request::new(Method::GET, url.clone()), &[StatusCode::OK]).await?;
            let next = self.next_page(&operation, &url, &response)?;
            let wrong = |reason: String| {
                Error::new(ErrorType::Unavailable, format!("{}: the answer {reason}", self.doing(&operation)))
            };
            let failure = match response.collect(MAX_PAGE_BYTES).await {
                Ok(bytes) => {
                    let list: L = serde_json::from_slice(&bytes)
                        .map_err(|error| wrong(format!("is no list of {what} ({error})")))?;
                    return Ok(Page { entries: entries(list).unwrap_or_default(), next });
                }
                Err(None) => return Err(wrong(format!("is over {MAX_PAGE_BYTES} bytes; is it paged?"))),
                Err(Some(failure)) => failure,
            };
            // An answer that broke off has no other owner of its tries.
            let wait =
                if failure.retryable() { self.client.policy.backoff(attempt, None, fastrand::f64()) } else { None };
            match wait {
                Some(wait) if self.run.deadline.sleep(wait).await.is_ok() => self.run.meter.retry(),
                _ => {
                    let url = crate::transport::redact(&url);
                    return Err(self.failure(&operation, &TransportError { method: Method::GET, url, failure }));
                }
            }
        }
    }

    /// The query of the next page, as `Link` names it (RFC 8288; OCI distribution-spec, "Listing Tags").
    fn next_page(&self, operation: &Operation, asked: &Url, response: &Response) -> Result<Option<String>, Error> {
        let links = response.headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
        let Some(target) = links.into_iter().find_map(next_link) else { return Ok(None) };
        let unsafe_link = |reason: String| {
            let text = format!("{}: the Link to the next page {reason}", self.doing(operation));
            Err(Error::new(ErrorType::UnsafeRedirect, text))
        };
        let Ok(mut url) = asked.join(target) else { return unsafe_link("is no URL".to_owned()) };
        if !self.at_home(&mut url) || url.path() != asked.path() {
            let to = crate::transport::redact(&url);
            return unsafe_link(format!("leads to {to}, away from the list itself, and is not followed"));
        }
        match url.query() {
            Some(query) if !query.is_empty() && asked.query() != Some(query) => Ok(Some(query.to_owned())),
            _ => unsafe_link("leads to the same page again".to_owned()),
        }
    }
}

/// The target of the first link of a `Link` header whose relation is `next`.
fn next_link(header: &str) -> Option<&str> {
    let mut rest = header;
    while let Some(open) = rest.find('<') {
        let close = open + rest[open..].find('>')?;
        let target = &rest[open + 1..close];
        rest = &rest[close + 1..];
        let parameters = rest.split('<').next().unwrap_or_default();
        let is_next = |parameter: &str| {
            let (name, value) = parameter.split_once('=').unwrap_or_default();
            let relations = value.trim().trim_end_matches(',').trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case("rel") && relations.split(' ').any(|one| one.eq_ignore_ascii_case("next"))
        };
        if parameters.split(';').any(is_next) {
            return Some(target);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_among_links() {
        for (header, target) in [
            (r#"</v2/a/tags/list?n=2&last=b>; rel="next""#, Some("/v2/a/tags/list?n=2&last=b")),
            (r#"</first>; rel="first", </a,b?last=c>; rel=next"#, Some("/a,b?last=c")),
            (r#"</x>;title="a;b"; REL="prev next""#, Some("/x")),
            (r#"</x>; rel="prev""#, None),
            ("</x", None),
            ("", None),
        ] {
            assert_eq!(next_link(header), target, "{header}");
        }
    }
}
