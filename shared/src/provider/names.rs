//! Names that one registry can't hold although the distribution specification allows them.

use super::Provider;

/// Why the registry with this host can't hold a repository of this name; `None`: nothing is known against it.
///
/// Told by the host alone: a registry of another host that is configured as such a provider (a proxy, an emulator) may have
/// its own idea of names.
///
/// Sources: ECR API, `CreateRepository` (`repositoryName`, 2 to 256 characters); ECR Public API, `CreateRepository` (2 to 205
/// characters, single separators), under the registry's alias; Docker Hub, `NAMESPACE/NAME`; GitHub, "Working with the
/// Container registry", `ghcr.io/NAMESPACE/IMAGE`; Google Cloud, "Artifact Registry repository and image names",
/// `LOCATION-docker.pkg.dev/PROJECT/REPOSITORY/IMAGE`; Quay, `NAMESPACE/NAME`. Elsewhere the limit that many clients put on host
/// and name together, 255 characters (OCI distribution-spec, "Pulling manifests").
#[must_use]
pub fn unfit_name(host: &str, repository: &str) -> Option<String> {
    let components = repository.split('/').count();
    let wants = |form: &str| Some(format!("{form}, and `{repository}` has {components}"));
    let length = |name: &str, most: usize, what: &str| {
        let characters = name.len();
        let fits = (2..=most).contains(&characters);
        (!fits).then(|| format!("{what} takes names of 2 to {most} characters, and `{name}` has {characters}"))
    };
    match Provider::of_host(host) {
        Provider::Ecr => length(repository, 256, "ECR"),
        Provider::EcrPublic => match repository.split_once('/') {
            None => wants("ECR Public takes ALIAS/NAME, two components at least"),
            Some((_, name)) if ["__", "--"].iter().any(|double| name.contains(double)) => {
                Some(format!("ECR Public takes single separators in names alone, and `{name}` has a double one"))
            }
            Some((_, name)) => length(name, 205, "ECR Public"),
        },
        Provider::DockerHub if components != 2 => wants("Docker Hub takes NAMESPACE/NAME, two components"),
        Provider::Ghcr if components < 2 => wants("GitHub takes OWNER/IMAGE, two components at least"),
        Provider::Quay if components < 2 => wants("Quay takes NAMESPACE/NAME, two components at least"),
        Provider::Gar if host.ends_with("-docker.pkg.dev") && components < 3 => {
            wants("Artifact Registry takes PROJECT/REPOSITORY/IMAGE, three components at least")
        }
        Provider::Gar if components < 2 => wants("gcr.io takes PROJECT/IMAGE, two components at least"),
        Provider::DockerHub | Provider::Ghcr | Provider::Quay | Provider::Gar | Provider::Acr | Provider::Generic => {
            let characters = host.len() + 1 + repository.len();
            (characters > 255).then(|| format!("host and repository have {characters} characters together, over 255"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_registry_cannot_hold_are_told_by_its_host() {
        let long = |characters: usize| "a".repeat(characters);
        let ecr = "111122223333.dkr.ecr.us-east-1.amazonaws.com";
        for (host, repository, part) in [
            (ecr, "a".to_owned(), Some("2 to 256 characters, and `a` has 1")),
            (ecr, "a/b".to_owned(), None),
            (ecr, long(257), Some("has 257")),
            (ecr, long(256), None),
            ("public.ecr.aws", "name".to_owned(), Some("ALIAS/NAME")),
            ("public.ecr.aws", "alias/a__b".to_owned(), Some("a double one")),
            ("public.ecr.aws", format!("alias/{}", long(206)), Some("2 to 205")),
            ("public.ecr.aws", "alias/team/app".to_owned(), None),
            ("docker.io", "acme/team/app".to_owned(), Some("two components, and `acme/team/app` has 3")),
            ("docker.io", "acme/app".to_owned(), None),
            ("ghcr.io", "app".to_owned(), Some("OWNER/IMAGE")),
            ("ghcr.io", "acme/team/app".to_owned(), None),
            ("quay.io", "app".to_owned(), Some("NAMESPACE/NAME")),
            ("europe-west1-docker.pkg.dev", "project/app".to_owned(), Some("three components at least")),
            ("europe-west1-docker.pkg.dev", "project/repository/app".to_owned(), None),
            ("eu.gcr.io", "project/app".to_owned(), None),
            ("eu.gcr.io", "app".to_owned(), Some("PROJECT/IMAGE")),
            ("acme.azurecr.io", "a".to_owned(), None),
            ("registry.example.test", "a".to_owned(), None),
            ("registry.example.test", long(233), None),
            ("registry.example.test", long(234), Some("have 256 characters together, over 255")),
        ] {
            let reason = unfit_name(host, &repository);
            match (part, &reason) {
                (Some(part), Some(reason)) => assert!(reason.contains(part), "{host}: {reason}"),
                (None, None) => {}
                other => panic!("{host}/{repository}: {other:?}"),
            }
        }
    }
}
