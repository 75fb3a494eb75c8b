//! Lists: tags of a repository, repositories of the registry, both in pages.

use serde_json::json;

use crate::registry::{
    Shared,
    reply::{Answer, Halt, Reply, refuse},
    route::encode,
    server::Head,
};

/// ECR gives no larger page.
const LARGEST_PAGE: usize = 1000;

pub(super) fn list(shared: &Shared, head: &Head, name: &str) -> Answer {
    if !shared.traits.lists_tags {
        return Err(refuse(405, "UNSUPPORTED", "the operation is unsupported"));
    }
    if !shared.store.exists(name) {
        return Err(refuse(404, "NAME_UNKNOWN", "repository name not known to registry"));
    }
    let (page, next) = page(shared, head, shared.store.tags(name))?;
    let body = json!({"name": name, "tags": page}).to_string();
    let content_type = if shared.traits.ecr { "text/plain; charset=utf-8" } else { "application/json" };
    let reply = Reply::new(200).body(content_type, body);
    Ok(link(reply, &format!("/v2/{name}/tags/list"), next))
}

pub(super) fn catalog(shared: &Shared, head: &Head) -> Answer {
    let (page, next) = page(shared, head, shared.store.repositories())?;
    Ok(link(Reply::new(200).json(&json!({"repositories": page})), "/v2/_catalog", next))
}

type Next = Option<(usize, String)>;

/// The part of a sorted list that `n` and `last` ask for, and where the next begins.
fn page(shared: &Shared, head: &Head, all: Vec<String>) -> Result<(Vec<String>, Next), Halt> {
    let count = match head.query.get("n").map(str::parse::<usize>) {
        None => None,
        Some(Ok(n)) if shared.traits.ecr && n > LARGEST_PAGE => {
            let text = "Invalid parameter at 'maxResults' failed to satisfy constraint: 'Member must be less than \
                        or equal to 1000'";
            return Err(refuse(400, "UNSUPPORTED", text));
        }
        Some(Ok(n)) => Some(n),
        Some(Err(_)) => return Err(refuse(400, "PAGINATION_NUMBER_INVALID", "n is no number")),
    };
    let count = count.or_else(|| shared.traits.ecr.then_some(LARGEST_PAGE));
    let count = count.map_or(shared.list_page, |count| Some(count.min(shared.list_page.unwrap_or(count))));
    let mut rest: Vec<String> = match head.query.get("last") {
        Some(last) => all.into_iter().filter(|entry| entry.as_str() > last).collect(),
        None => all,
    };
    let mut next = None;
    if let Some(count) = count.filter(|count| *count < rest.len()) {
        rest.truncate(count);
        next = rest.last().map(|last| (count, last.clone()));
    }
    Ok((rest, next))
}

fn link(reply: Reply, path: &str, next: Next) -> Reply {
    match next {
        Some((count, last)) => {
            let last = encode(&last);
            reply.header("link", format!("<{path}?n={count}&last={last}>; rel=\"next\""))
        }
        None => reply,
    }
}
