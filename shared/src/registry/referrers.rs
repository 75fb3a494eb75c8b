//! What is attached to a manifest: the referrers API of OCI 1.1.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, StatusCode, header::CONTENT_TYPE};
use tokio::time::Instant;

use super::{Repository, manifest::Read, request::Operation};
use crate::{
    error::{Error, ErrorType},
    limits::ManifestRoom,
    oci::{Digest, ErrorEnvelope, Referrer, ReferrersList, read_referrers, referrers_tag},
    provider::Action,
    transport::{Request, Response},
};

/// How long a registry is taken to be without the API. Chosen: one answer may be a proxy's, and asking costs a request.
const LIFE: Duration = Duration::from_secs(5 * 60);

/// Pages of one list. Chosen: more than any list that is copied has, even of one entry each.
const MOST_PAGES: u32 = 2000;

/// What a registry was found to be without, so that it is not asked for it again for a while; and what it was found to have,
/// so that one wrong answer is not taken for the contrary.
#[derive(Debug, Default)]
pub struct Lacks {
    /// Since when.
    referrers_api: Mutex<Option<Instant>>,
    /// It has answered a list of referrers.
    has_answered: AtomicBool,
    /// It lists referrers by itself: it has named some, or said so when it took one.
    keeps_lists: AtomicBool,
    tag_lists: AtomicBool,
    /// Whether the first question for a list was answered; whoever asks it holds the lock.
    asked_once: tokio::sync::Mutex<bool>,
}

/// The first question for a list: its answer tells whether the others are worth asking, which wait for it.
struct FirstQuestion<'l>(tokio::sync::MutexGuard<'l, bool>);

impl Drop for FirstQuestion<'_> {
    fn drop(&mut self) {
        *self.0 = true;
    }
}

impl Lacks {
    /// Whether it has no referrers API.
    #[must_use]
    pub fn referrers_api(&self) -> bool {
        // Held for a copy of a moment, which does not panic.
        let since = *self.referrers_api.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| since.elapsed() < LIFE)
    }

    fn note_no_referrers_api(&self) {
        *self.referrers_api.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether it has shown in this process that it lists what refers to a manifest.
    #[must_use]
    pub fn keeps_lists(&self) -> bool {
        self.keeps_lists.load(Ordering::Relaxed)
    }

    pub(super) fn note_keeps_lists(&self) {
        self.has_answered.store(true, Ordering::Relaxed);
        self.keeps_lists.store(true, Ordering::Relaxed);
    }

    fn note_answered(&self, named: usize) {
        self.has_answered.store(true, Ordering::Relaxed);
        self.keeps_lists.fetch_or(named > 0, Ordering::Relaxed);
    }

    /// Waits for the answer to the first question for a list, or is it; `None`: it was answered.
    async fn first_question(&self) -> Option<FirstQuestion<'_>> {
        let asked = self.asked_once.lock().await;
        (!*asked).then(|| FirstQuestion(asked))
    }

    /// Whether it lists no tags.
    #[must_use]
    pub fn tag_lists(&self) -> bool {
        self.tag_lists.load(Ordering::Relaxed)
    }

    /// It lists no tags.
    pub fn note_no_tag_lists(&self) {
        self.tag_lists.store(true, Ordering::Relaxed);
    }
}

/// How registries without the API answer, as far as is known; the specification's mark is 404.
const LACKING: [StatusCode; 4] =
    [StatusCode::NOT_FOUND, StatusCode::BAD_REQUEST, StatusCode::METHOD_NOT_ALLOWED, StatusCode::NOT_IMPLEMENTED];

/// What the index under a manifest's fallback tag says is attached to it.
#[derive(Debug)]
pub struct FallbackList {
    /// Digest of `bytes`.
    pub digest: Digest,
    /// The index as it is.
    pub bytes: Bytes,
    /// What it lists, as far as it can be read; nothing if it is no list, but the manifest itself, say.
    pub listed: Vec<Referrer>,
}

impl Repository {
    /// Lists what refers to `subject`; `None`: the registry has no API for it. No page is read after that with which there
    /// are over `most`.
    ///
    /// One that has it answers 200 even of what it doesn't know (OCI distribution-spec, "Listing Referrers").
    ///
    /// # Errors
    /// `Unavailable`: it has the API, and says that it hasn't, or its list has no end. And all that a request can meet.
    pub async fn referrers(&self, subject: &Digest, most: usize) -> Result<Option<Vec<Referrer>>, Error> {
        let _first = match self.has_referrers_api() {
            true => None,
            false => self.client.lacks.first_question().await,
        };
        if self.client.lacks.referrers_api() {
            return Ok(None);
        }
        let operation = Operation::new(Action::List, format_args!("referrers of {subject}"));
        let mut url = self.url(&format!("referrers/{subject}"));
        let (mut found, mut attempt, mut pages): (Vec<Referrer>, u32, u32) = (Vec::new(), 1, 0);
        loop {
            let wanted = [&[StatusCode::OK][..], &LACKING].concat();
            let response = self.send(&operation, Request::new(Method::GET, url.clone()), &wanted).await?;
            if response.status != StatusCode::OK {
                self.no_list(&operation, response, pages).await?;
                return Ok(None);
            }
            let says_json = response.header(CONTENT_TYPE.as_str()).is_some_and(|of| of.contains("json"));
            let (page, next) = match self.collect_page(&operation, &url, response).await? {
                Ok(page) => page,
                Err(failure) => {
                    self.after_a_cut(&operation, &url, attempt, failure).await?;
                    attempt += 1;
                    continue;
                }
            };
            let page = match read_referrers(&page) {
                Ok(page) => self.readable(page, subject),
                // Behind some registries without the API stands a page for people, or something that has no list, which
                // answers to any path. The type alone says little: some call their lists `text/plain`.
                Err(error) if pages == 0 && !self.has_referrers_api() && (error.is_data() || !says_json) => {
                    return Ok(None);
                }
                Err(error) => {
                    let text = format!("{}: the answer is no list of referrers ({error})", self.doing(&operation));
                    return Err(Error::new(ErrorType::Unavailable, text));
                }
            };
            found.extend(page);
            self.client.lacks.note_answered(found.len());
            pages += 1;
            if pages == MOST_PAGES {
                let text = format!("{}: the list has no end", self.doing(&operation));
                return Err(Error::new(ErrorType::Unavailable, text));
            }
            match next {
                Some(next) if found.len() <= most => url.set_query(Some(&next)),
                _ => return Ok(Some(found)),
            }
            attempt = 1;
        }
    }

    /// Notes what an answer without a list, after so many `pages` of one, says about the registry.
    async fn no_list(&self, operation: &Operation, response: Response, pages: u32) -> Result<(), Error> {
        let status = response.status;
        let unavailable = |reason: &str| {
            let text = format!("{}: {}; {reason}", self.doing(operation), status.as_u16());
            Err(Error::new(ErrorType::Unavailable, text))
        };
        if pages > 0 {
            return unavailable(&format!("{pages} page(s) of the list had been read, and a later try may read all"));
        }
        let envelope = ErrorEnvelope::parse(&response.excerpt().await);
        match (status, envelope.code.as_str()) {
            // About this digest, or this repository, alone.
            (StatusCode::BAD_REQUEST, _) | (_, "NAME_UNKNOWN") => {}
            // Whose lists are known is asked again later, not taken to have nothing.
            _ if self.has_referrers_api() => {
                return unavailable("this kind of registry lists referrers, and may do so later");
            }
            // Some repositories behind one host may be another registry's.
            _ if self.client.lacks.has_answered.load(Ordering::Relaxed) => {}
            _ => self.client.lacks.note_no_referrers_api(),
        }
        Ok(())
    }

    /// Whether the registry is of a kind that is known to have the API.
    #[must_use]
    pub fn has_referrers_api(&self) -> bool {
        self.client.provider.has_referrers_api()
    }

    /// Whether what its API lists is known to be all that there is: an empty list may be the answer to anything.
    #[must_use]
    pub fn keeps_lists(&self) -> bool {
        self.has_referrers_api() || self.client.lacks.keeps_lists()
    }

    /// Reads the index that stands in for the API; `None`: there is none.
    ///
    /// # Errors
    /// `DigestMismatch`, `ManifestTooLarge`, and all that a request can meet.
    pub async fn fallback_list(&self, subject: &Digest, room: &ManifestRoom) -> Result<Option<FallbackList>, Error> {
        let tag = referrers_tag(subject);
        // What a GET finds is counted there, and whether one that finds nothing is, is not known.
        if self.client.provider.counts_pulls() && self.head_manifest(&tag).await?.is_none() {
            return Ok(None);
        }
        let operation = Operation::new(Action::GetManifest, &tag);
        let wanted = [StatusCode::OK, StatusCode::NOT_FOUND];
        let Some(Read { digest, bytes, .. }) = self.verified(&operation, &tag, None, room, &wanted).await? else {
            return Ok(None);
        };
        // An image may be kept under a tag that is made of its own digest: what it lists is its own.
        let listed = match read_referrers(&bytes) {
            _ if digest == *subject => Vec::new(),
            Ok(list) => self.readable(list, subject),
            Err(error) => {
                tracing::warn!(reason = %error, repository = %self, tag, "what stands under the tag is no list of referrers");
                Vec::new()
            }
        };
        Ok(Some(FallbackList { digest, bytes, listed }))
    }

    fn readable(&self, list: ReferrersList, subject: &Digest) -> Vec<Referrer> {
        if list.unreadable > 0 {
            let count = list.unreadable;
            tracing::warn!(count, repository = %self, %subject, "listed referrers are left out: their digests can't be read");
        }
        list.referrers
    }
}
