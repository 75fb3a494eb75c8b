//! What has to be there before a push: projects of Harbor, repositories of GAR, namespaces of Docker Hub.

use crate::registry::{
    Shared, auth,
    personality::Parents,
    reply::{Halt, Reply, refuse},
    server::Head,
};

/// Checks the name that a request asks for.
pub(super) fn check(shared: &Shared, head: &Head) -> Result<(), Halt> {
    let Some(name) = head.target.repository() else { return Ok(()) };
    match shared.traits.parents {
        Parents::None => Ok(()),
        // Any failed check is a 401 at Harbor (goharbor/harbor, issue 17097).
        Parents::Project if !auth::reads(head) && !exists(shared, name, 1) => {
            let project = name.split('/').next().unwrap_or_default();
            Err(refuse(401, "UNAUTHORIZED", &format!("project {project} not found")))
        }
        Parents::Repository if name.split('/').count() < 3 => {
            Err(refuse(400, "NAME_INVALID", "expected <project>/<repository>/<image>"))
        }
        Parents::Repository if !exists(shared, name, 2) => {
            let repository = name.split('/').nth(1).unwrap_or_default();
            Err(refuse(404, "NAME_UNKNOWN", &format!("Repository \"{repository}\" not found")))
        }
        // A token for such a name allows nothing.
        Parents::Namespace if !name.contains('/') => {
            let challenge = format!(r#"Bearer realm="{}",service="{}""#, shared.realm(), shared.service());
            let reply = Reply::error(401, "UNAUTHORIZED", "authentication required");
            Err(reply.header("www-authenticate", challenge).into())
        }
        Parents::Project | Parents::Repository | Parents::Namespace => Ok(()),
    }
}

/// Whether any repository has the first `parts` parts of `name`.
pub(super) fn exists(shared: &Shared, name: &str, parts: usize) -> bool {
    fn first(name: &str, parts: usize) -> Vec<&str> {
        name.split('/').take(parts).collect()
    }
    shared.store.repositories().iter().any(|found| first(found, parts) == first(name, parts))
}
