//! Removing one tag, and asking first which others point to the same image.

use std::sync::Arc;

use futures::future::BoxFuture;
use http::{Method, StatusCode};

use super::{Listing, OciListing, RegistryClient, Repository, Run, Side, request::Operation};
use crate::{
    error::{Error, ErrorType},
    oci::Digest,
    provider::{Action, TagRemoval},
    transport::Request,
};

/// Other tags that are asked for what they point to, before it counts as not to be told. Chosen: half a minute of `HEAD`s.
const MOST_TAGS: usize = 2000;

/// Tags asked for together: the first one that points to the image ends the search.
const TAGS_AT_ONCE: usize = 32;

/// The tags of one repository, as far as they may be removed.
pub trait Untagging: Send + Sync {
    /// Another tag than `tag` that points to `digest`; `None`: there is none.
    fn another<'a>(&'a self, tag: &'a str, digest: &'a Digest) -> BoxFuture<'a, Result<Option<String>, Error>>;

    /// Removes `tag` and nothing else; `false`: it is not there.
    fn remove<'a>(&'a self, tag: &'a str) -> BoxFuture<'a, Result<bool, Error>>;

    /// Whether an image is gone with its last tag; elsewhere it waits for garbage collection.
    fn takes_image_with_last_tag(&self) -> bool {
        false
    }
}

/// Removes tags as the distribution specification says.
#[derive(Debug)]
pub struct OciTags {
    repository: Repository,
    listing: OciListing,
}

impl OciTags {
    /// The tags of the repository `name`.
    ///
    /// # Errors
    /// `InvalidConfig`: registries of this kind can't remove a single tag.
    pub fn new(client: Arc<RegistryClient>, name: &str, run: Run) -> Result<Self, Error> {
        let actions = match client.provider.tag_removal() {
            TagRemoval::ByTag { actions } => actions,
            // ECR without its API, by configuration.
            TagRemoval::Api => "pull,push",
            TagRemoval::Refused(advice) => {
                let text = format!("removing a tag of {}/{name}: the registry {advice}", client.host);
                return Err(Error::new(ErrorType::InvalidConfig, text));
            }
        };
        let listing = OciListing::new(Arc::clone(&client), Side::Destination, run.clone());
        let scopes = vec![format!("repository:{name}:{actions}")];
        let repository = Repository { client, name: name.to_owned(), side: Side::Destination, run, scopes };
        Ok(Self { repository, listing })
    }

    async fn search(&self, tag: &str, digest: &Digest) -> Result<Option<String>, Error> {
        let untold = |reason: &str| {
            let text = format!(
                "removing tag {tag} of {}: {reason}, so it may be the last tag of {digest}, and stays; remove it by hand, or \
                 set `delete` to `image`",
                self.repository
            );
            Error::new(ErrorType::InvalidConfig, text)
        };
        let (mut at, mut asked, mut silent) = (None, 0, false);
        loop {
            let page = self.listing.images(&self.repository.name, at.as_deref()).await?;
            let others: Vec<String> =
                page.entries.into_iter().flat_map(|image| image.tags).filter(|other| other != tag).collect();
            for others in others.chunks(TAGS_AT_ONCE) {
                asked += others.len();
                if asked > MOST_TAGS {
                    return Err(untold(&format!("it has over {MOST_TAGS} tags, which are too many to ask for")));
                }
                let found = self.listing.digests(&self.repository.name, others).await?;
                silent |= found.values().any(Option::is_none);
                let same = others.iter().find(|other| found.get(*other).is_some_and(|it| it.as_ref() == Some(digest)));
                if let Some(same) = same {
                    return Ok(Some(same.clone()));
                }
            }
            at = match page.next {
                Some(next) => Some(next),
                None if silent => return Err(untold("the registry doesn't say what its tags point to")),
                None => return Ok(None),
            };
        }
    }
}

impl Untagging for OciTags {
    fn another<'a>(&'a self, tag: &'a str, digest: &'a Digest) -> BoxFuture<'a, Result<Option<String>, Error>> {
        Box::pin(self.search(tag, digest))
    }

    fn remove<'a>(&'a self, tag: &'a str) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            let operation = Operation::new(Action::RemoveTag, tag);
            let request = Request::new(Method::DELETE, self.repository.url(&format!("manifests/{tag}")));
            // Source: OCI distribution-spec, "Deleting tags": 202; others answer 200 or 204.
            let wanted = [StatusCode::ACCEPTED, StatusCode::OK, StatusCode::NO_CONTENT, StatusCode::NOT_FOUND];
            let response = self.repository.send(&operation, request, &wanted).await?;
            Ok(response.status != StatusCode::NOT_FOUND)
        })
    }
}
