//! What is attached to a manifest: the referrers API of OCI 1.1.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{Method, StatusCode, header::CONTENT_TYPE};
use tokio::time::Instant;

use super::{Repository, request::Operation};
use crate::{
    error::{Error, ErrorType},
    oci::{Digest, ErrorEnvelope, OCI_INDEX, Referrer, read_referrers},
    provider::Action,
    transport::{Request, Response},
};

/// How long a registry is taken to be without the API. Chosen: one answer may be a proxy's, and asking costs a request.
const LIFE: Duration = Duration::from_secs(5 * 60);

/// Pages of one list. Chosen: more than any list that is copied has, even of one entry each.
const MOST_PAGES: u32 = 2000;

/// What a registry was found to be without, so that it is not asked for it again for a while.
#[derive(Debug, Default)]
pub struct Lacks {
    /// Since when.
    referrers_api: Mutex<Option<Instant>>,
    tag_lists: AtomicBool,
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

/// An answer for a page of referrers.
enum Answer {
    Page(Box<Response>),
    /// It has no API, or none for digests of this kind.
    NoApi,
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
        if self.client.lacks.referrers_api() {
            return Ok(None);
        }
        let operation = Operation::new(Action::List, format_args!("referrers of {subject}"));
        let mut url = self.url(&format!("referrers/{subject}"));
        let (mut found, mut attempt, mut pages): (Vec<Referrer>, u32, u32) = (Vec::new(), 1, 0);
        loop {
            let response = match self.referrers_page(&operation, Request::new(Method::GET, url.clone())).await? {
                Answer::Page(response) => *response,
                Answer::NoApi => return Ok(None),
            };
            let (page, next) = match self.collect_page(&operation, &url, response).await? {
                Ok(page) => page,
                Err(failure) => {
                    self.after_a_cut(&operation, &url, attempt, failure).await?;
                    attempt += 1;
                    continue;
                }
            };
            let page = read_referrers(&page).map_err(|error| {
                let text = format!("{}: the answer is no list of referrers ({error})", self.doing(&operation));
                Error::new(ErrorType::Unavailable, text)
            })?;
            found.extend(page);
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

    async fn referrers_page(&self, operation: &Operation, request: Request) -> Result<Answer, Error> {
        let wanted = [&[StatusCode::OK][..], &LACKING].concat();
        let response = self.send(operation, request, &wanted).await?;
        let status = response.status;
        if status == StatusCode::OK {
            let media_type = response.header(CONTENT_TYPE.as_str()).unwrap_or_default();
            // Behind some registries without the API stands a page for people, which answers to any path.
            let is_index = media_type.split(';').next().is_some_and(|media_type| media_type.trim() == OCI_INDEX);
            if is_index || media_type.contains("json") {
                return Ok(Answer::Page(Box::new(response)));
            }
            return Ok(Answer::NoApi);
        }
        let envelope = ErrorEnvelope::parse(&response.excerpt().await);
        match (status, envelope.code.as_str()) {
            // About this digest, or this repository, alone.
            (StatusCode::BAD_REQUEST, _) | (_, "NAME_UNKNOWN") => {}
            // Whose lists are known is asked again later, not taken to have nothing.
            _ if self.client.provider.has_referrers_api() => {
                let text = format!(
                    "{}: {}; this kind of registry lists referrers, and may do so later",
                    self.doing(operation),
                    status.as_u16()
                );
                return Err(Error::new(ErrorType::Unavailable, text));
            }
            _ => self.client.lacks.note_no_referrers_api(),
        }
        Ok(Answer::NoApi)
    }
}
