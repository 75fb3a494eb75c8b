//! One page of a list, and where the next one begins.

use bytes::Bytes;
use http::{Method, StatusCode, header::LINK};
use url::Url;

use super::{Repository, request::Operation};
use crate::{
    error::{Error, ErrorType},
    transport::{Failure, Request, Response, TransportError},
};

/// A page may have so many bytes: a thousand tags or names of the greatest length take a sixteenth of it, and a registry
/// that knows no pages may have a hundred thousand. Chosen: what a manifest may have.
const MAX_PAGE_BYTES: u64 = 4 * 1024 * 1024;

impl Repository {
    /// Reads the page at `url`: its bytes, and the query of the next one.
    pub(super) async fn list_page(&self, operation: &Operation, url: &Url) -> Result<(Bytes, Option<String>), Error> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let response = self.send(operation, Request::new(Method::GET, url.clone()), &[StatusCode::OK]).await?;
            match self.collect_page(operation, url, response).await? {
                Ok(page) => return Ok(page),
                Err(failure) => self.after_a_cut(operation, url, attempt, failure).await?,
            }
        }
    }

    /// The page that `response` is: its bytes, and the query of the next one; or how it broke off.
    pub(super) async fn collect_page(
        &self,
        operation: &Operation,
        url: &Url,
        response: Response,
    ) -> Result<Result<(Bytes, Option<String>), Failure>, Error> {
        let next = self.next_page(operation, url, &response)?;
        match response.collect(MAX_PAGE_BYTES).await {
            Ok(bytes) => Ok(Ok((bytes, next))),
            Err(Some(failure)) => Ok(Err(failure)),
            Err(None) => {
                let text =
                    format!("{}: the answer is over {MAX_PAGE_BYTES} bytes; is it paged?", self.doing(operation));
                Err(Error::new(ErrorType::Unavailable, text))
            }
        }
    }

    /// Waits before a page is asked for again: an answer that broke off has no other owner of its tries.
    pub(super) async fn after_a_cut(
        &self,
        operation: &Operation,
        url: &Url,
        attempt: u32,
        failure: Failure,
    ) -> Result<(), Error> {
        let wait = if failure.retryable() { self.client.policy.backoff(attempt, None, fastrand::f64()) } else { None };
        match wait {
            Some(wait) if self.run.deadline.sleep(wait).await.is_ok() => {
                self.run.meter.retry();
                Ok(())
            }
            _ => {
                let url = crate::transport::redact(url);
                Err(self.failure(operation, &TransportError { method: Method::GET, url, failure }))
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
