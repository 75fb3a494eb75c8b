//! The distribution token flow: one token for each scope, asked for narrowly, reused, renewed early.

use std::time::Duration;

use emulator::{Action, Authorization, Builder, Entry, Fault, Image, Kind, Origin, Personality, Registry};
use scenarios::World;

use crate::support::{multi_platform, pushed, replicated, watched};

const LOGIN: [(&str, &str); 1] = [("LOGIN", "robot:s3cret")];

/// The scopes that token requests named, in order of the requests, each request's joined by spaces.
fn scopes(registry: &Registry) -> Vec<String> {
    let one = |entry: &Entry| {
        let query = entry.query.clone().unwrap_or_default();
        let url = format!("http://token.test/?{query}");
        let url = reqwest::Url::parse(&url).unwrap();
        let scopes: Vec<_> =
            url.query_pairs().filter(|(name, _)| name == "scope").map(|(_, value)| value.into_owned()).collect();
        scopes.join(" ")
    };
    registry.journal().of(Kind::Token).iter().map(one).collect()
}

/// From ECR to a registry with a token service.
async fn to_tokens(change: impl FnOnce(Builder) -> Builder) -> World {
    let mut world = World::to(Personality::Plain, |plain| change(plain.token_server("robot", "s3cret"))).await;
    let host = world.destination_host.clone();
    world.registry_config(&host).insert("credentials".into(), "env:LOGIN".into());
    world
}

#[tokio::test]
async fn one_token_to_pull_and_push_serves_all_requests_of_a_run_and_the_next() {
    watched(async {
        let world = to_tokens(|plain| plain).await;
        let index = multi_platform(1, &["linux/amd64", "linux/arm64"]);
        index.push_to(world.source.store(), "team/app", "v1");
        let mut function = world.function("on-push", &LOGIN).await;
        let result = pushed(&mut function, "team/app", "v1", &index.digest).await;
        assert_eq!(result["outcome"], "synced", "{result}");
        assert_eq!(scopes(&world.destination), ["repository:mirror/team/app:pull,push"]);
        let journal = world.destination.journal();
        let token = journal.of(Kind::Token).remove(0);
        assert_eq!((token.method.as_str(), token.authorization), ("GET", Authorization::Basic));
        let to_registry = |entry: &Entry| entry.origin == Origin::Registry;
        let requests: Vec<_> = journal.entries().into_iter().filter(to_registry).collect();
        assert_eq!(requests[0].status, 401);
        assert!(requests[1..].iter().all(|entry| entry.authorization == Authorization::Bearer && entry.status != 401));
        assert_eq!(result["requests"]["destination"], requests.len(), "token requests aside");

        world.forget();
        pushed(&mut function, "team/app", "v1", &index.digest).await;
        assert_eq!((world.destination.journal().len(), world.destination.journal().count(Kind::Token)), (1, 0));
    })
    .await;
}

#[tokio::test]
async fn the_source_is_only_pulled_from_and_a_mount_names_both_repositories() {
    watched(async {
        let guarded = || Registry::builder(Personality::Plain).token_server("robot", "s3cret");
        let mut world = World::between(guarded(), guarded()).await;
        let (from, to) = (world.source_host.clone(), world.destination_host.clone());
        for host in [&from, &to] {
            world.registry_config(host).insert("credentials".into(), "env:LOGIN".into());
        }
        let image = Image::small(1);
        image.push_to(world.source.store(), "team/app", "v1");
        let mut function = world.function("fanout", &LOGIN).await;
        replicated(&world, &mut function, &format!("{from}/team/app:v1"), &format!("{to}/mirror/app:v1")).await;
        assert_eq!(scopes(&world.source), ["repository:team/app:pull"]);
        assert_eq!(scopes(&world.destination), ["repository:mirror/app:pull,push"]);

        world.forget();
        let result =
            replicated(&world, &mut function, &format!("{from}/team/app:v1"), &format!("{from}/copy/app:v1")).await;
        assert_eq!(result["blobs"]["mounted"], 2, "the token allows to read where blobs are mounted from");
        assert_eq!(scopes(&world.source), ["repository:copy/app:pull,push repository:team/app:pull"]);
    })
    .await;
}

#[tokio::test]
async fn a_short_token_is_renewed_before_it_ends() {
    watched(async {
        let world = to_tokens(|plain| plain.token_lifetime(Duration::from_secs(2))).await;
        let image = Image::small(1);
        image.push_to(world.source.store(), "team/app", "v1");
        // The run outlasts its first token: 2.2 s are over when the last blobs are sent.
        let slow =
            Fault::on(Kind::BlobGet).at(Origin::Registry).times(2).then(Action::Delay(Duration::from_millis(2200)));
        world.source.faults().add(slow);
        let mut function = world.function("on-push", &LOGIN).await;
        assert_eq!(pushed(&mut function, "team/app", "v1", &image.digest).await["outcome"], "synced");
        let journal = world.destination.journal();
        assert!(journal.count(Kind::Token) >= 2);
        let refused = journal.entries().iter().filter(|entry| entry.status == 401).count();
        assert_eq!(refused, 1, "the first request alone, which did not know what to bring");
        assert_eq!(journal.count(Kind::UploadPut), 2, "no blob is sent twice");
    })
    .await;
}

#[tokio::test]
async fn a_token_that_was_revoked_is_replaced_once() {
    watched(async {
        let world = to_tokens(|plain| plain).await;
        let images = [Image::small(1), Image::small(2)];
        images[0].push_to(world.source.store(), "team/app", "v1");
        images[1].push_to(world.source.store(), "team/app", "v2");
        let mut function = world.function("on-push", &LOGIN).await;
        pushed(&mut function, "team/app", "v1", &images[0].digest).await;
        world.destination.expire_tokens();
        world.forget();
        assert_eq!(pushed(&mut function, "team/app", "v2", &images[1].digest).await["outcome"], "synced");
        assert_eq!(world.destination.journal().count(Kind::Token), 1);
        assert_eq!(world.destination.journal().entries().iter().filter(|entry| entry.status == 401).count(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_token_service_that_refuses_get_is_asked_by_post() {
    watched(async {
        let world = to_tokens(|plain| plain).await;
        let image = Image::small(1);
        image.push_to(world.source.store(), "team/app", "v1");
        world.destination.faults().add(Fault::on(Kind::Token).method("GET").forever().then(Action::status(405)));
        let mut function = world.function("on-push", &LOGIN).await;
        assert_eq!(pushed(&mut function, "team/app", "v1", &image.digest).await["outcome"], "synced");
        let tokens = world.destination.journal().of(Kind::Token);
        let asked: Vec<_> = tokens.iter().map(|entry| (entry.method.as_str(), entry.status)).collect();
        assert_eq!(asked, [("GET", 405), ("POST", 200)]);
        assert_eq!(tokens[1].query, None, "a password is in no URL");
        assert_eq!(tokens[1].authorization, Authorization::None);
    })
    .await;
}

#[tokio::test]
async fn an_identity_token_is_exchanged_by_post() {
    watched(async {
        let mut world = to_tokens(|plain| plain).await;
        let host = world.destination_host.clone();
        // What `docker login` keeps: the service gives one to who asks for offline access.
        let realm = format!("https://{}/token", world.destination.token_origin().unwrap());
        let query = [("service", host.as_str()), ("offline_token", "true")];
        let url = reqwest::Url::parse_with_params(&realm, query).unwrap();
        let client = scenarios::http_client::client(Some(world.authority.pem()));
        let answer = client.get(url).basic_auth("robot", Some("s3cret")).send().await.unwrap();
        let answer: serde_json::Value = answer.json().await.unwrap();
        let auths = serde_json::json!({ "auths": { host.clone(): { "identitytoken": answer["refresh_token"] } } });
        world.aws.secrets().put("docker", &auths.to_string());
        world.registry_config(&host).insert("credentials".into(), "secretsmanager:docker".into());
        world.forget();

        let image = Image::small(1);
        image.push_to(world.source.store(), "team/app", "v1");
        let mut function = world.function("on-push", &[]).await;
        assert_eq!(pushed(&mut function, "team/app", "v1", &image.digest).await["outcome"], "synced");
        let tokens = world.destination.journal().of(Kind::Token);
        assert_eq!(tokens.iter().map(|entry| entry.method.as_str()).collect::<Vec<_>>(), ["POST"]);
    })
    .await;
}

#[tokio::test]
async fn a_public_image_is_pulled_without_credentials() {
    watched(async {
        let public = Registry::builder(Personality::Plain).token_server("owner", "s3cret").anonymous_pull();
        let world = World::between(public, Registry::builder(Personality::Plain)).await;
        let image = Image::small(1);
        image.push_to(world.source.store(), "library/alpine", "3.20");
        let mut function = world.function("fanout", &[]).await;
        let (from, to) = (format!("{}/library/alpine:3.20", world.source_host), world.destination_host.clone());
        let result = replicated(&world, &mut function, &from, &format!("{to}/alpine:3.20")).await;
        assert_eq!(result["outcome"], "synced");
        let tokens = world.source.journal().of(Kind::Token);
        assert_eq!(tokens.len(), 1);
        assert_eq!(tokens[0].authorization, Authorization::None);
    })
    .await;
}
