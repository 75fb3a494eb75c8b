//! What is attached to an image, by way of a registry that is not ours and has no referrers API.

use emulator::{Authority, Personality, Registry};
use scenarios::{
    DockerRegistry, Function,
    attached::{Release, tag_of},
    watchdog::watch,
    world,
};
use serde_json::{Value, json};

use crate::ground::{LIMIT, entry, message, settings};

const REPOSITORY: &str = "team/app";

/// From an emulated registry through two of Docker's to another emulated one.
struct Chain {
    first: Registry,
    docker: [DockerRegistry; 2],
    last: Registry,
    function: Function,
}

impl Chain {
    async fn start(api: bool) -> Self {
        let authority = Authority::new();
        let plain = || Registry::builder(Personality::Plain).referrers(api).tls(&authority);
        let (first, last) = (plain().start().await, plain().start().await);
        let docker: [DockerRegistry; 2] =
            tokio::join!(settings(true, false).start(), settings(true, false).start()).into();
        let config = json!({ "registries": {
            first.host(): world::entry(&first, &authority),
            last.host(): world::entry(&last, &authority),
            docker[0].host(): entry(&docker[0], false),
            docker[1].host(): entry(&docker[1], false),
        }});
        let function = Function::start("fanout", &[("TRANSSHIP_CONFIG", &config.to_string())]).await;
        Self { first, docker, last, function }
    }
}

#[tokio::test]
async fn all_that_is_attached_gets_through_a_registry_without_the_api() {
    watch("all_that_is_attached_gets_through_a_registry_without_the_api", LIMIT, |steps| async move {
        for api in [true, false] {
            let mut chain = Chain::start(api).await;
            let release = Release::new();
            release.push_to(chain.first.store(), REPOSITORY, "v1", api);
            let hosts = [chain.first.host(), chain.docker[0].host(), chain.docker[1].host(), chain.last.host()];
            for pair in hosts.windows(2) {
                let [from, to] = [&pair[0], &pair[1]].map(|host| format!("{host}/{REPOSITORY}:v1"));
                let result = steps.during("copy", message(&mut chain.function, &from, &to)).await;
                assert_eq!(result["outcome"], "synced", "{result}");
                assert_eq!(result["referrers"], json!({"pushed": 4, "present": 0}), "{result}");
                let again = steps.during("copy again", message(&mut chain.function, &from, &to)).await;
                assert_eq!(again["outcome"], "current", "{again}");
                assert_eq!(again["referrers"], json!({"pushed": 0, "present": 4}), "{again}");
            }
            release.assert_arrived(chain.last.store(), REPOSITORY, "v1", api);
            for docker in &chain.docker {
                let remote = docker.remote();
                for (artifact, subject) in release.referring() {
                    let image = format!("{REPOSITORY}@{}", artifact.digest);
                    assert_eq!(steps.during("read", remote.manifest(&image)).await, artifact.manifest);
                    let list = remote.manifest(&format!("{REPOSITORY}:{}", tag_of(&subject, ""))).await;
                    let list: Value = serde_json::from_slice(&list).unwrap();
                    let listed: Vec<&Value> = list["manifests"].as_array().unwrap().iter().collect();
                    assert_eq!(listed.len(), 1, "{list}");
                    assert_eq!(listed[0]["digest"], artifact.digest.as_str());
                    assert_eq!(listed[0]["size"], artifact.manifest.len());
                }
            }
        }
    })
    .await;
}
