//! ECR Public's tokens: for the scope that its challenge names, and refused with a 400 once they are too old.

use emulator::{Action, Authorization, Builder, Fault, Image, Kind, Origin, Personality, Registry};
use scenarios::{World, world::push_event};

use crate::support::{failed, multi_platform, pushed, replicated, watched};

async fn to_public(change: impl FnOnce(Builder) -> Builder) -> World {
    let world = World::to(Personality::EcrPublic, |builder| change(builder.alias("mirror"))).await;
    world.destination.store().create_repository("mirror/team/app");
    world
}

/// One token, for the scope `aws`, which was given and served all requests but the first.
#[track_caller]
fn assert_one_token(registry: &Registry) {
    let tokens = registry.journal().of(Kind::Token);
    assert_eq!(tokens.len(), 1, "{tokens:#?}");
    let query = tokens[0].query.clone().unwrap_or_default();
    assert!(query.split('&').any(|member| member == "scope=aws"), "{query}");
    assert!(query.split('&').any(|member| member == "service=public.ecr.aws"), "{query}");
    assert_eq!((tokens[0].status, tokens[0].authorization), (200, Authorization::Basic));
    let asked = registry.journal().entries().into_iter().filter(|entry| entry.origin == Origin::Registry);
    let served: Vec<_> = asked.filter(|entry| entry.kind != Kind::Token).collect();
    assert_eq!(served.iter().filter(|entry| entry.status == 401).count(), 1, "what asked for the challenge");
    assert!(served[1..].iter().all(|entry| entry.authorization == Authorization::Bearer), "{served:#?}");
}

#[tokio::test]
async fn a_push_brings_a_token_for_the_scope_that_the_challenge_names() {
    watched(async {
        let world = to_public(|builder| builder).await;
        let index = multi_platform(1, &["linux/amd64", "linux/arm64", "linux/s390x"]);
        index.push_to(world.source.store(), "team/app", "v1");
        let mut function = world.function("on-push", &[]).await;
        let result = pushed(&mut function, "team/app", "v1", &index.digest).await;
        assert_eq!((&result["outcome"], &result["retries"]), (&"synced".into(), &0.into()), "{result}");
        world.destination.store().is_whole("mirror/team/app", "v1").unwrap();
        assert_one_token(&world.destination);
    })
    .await;
}

#[tokio::test]
async fn a_pull_does_so_too() {
    watched(async {
        let public = Registry::builder(Personality::EcrPublic);
        let world = World::between(public, Registry::builder(Personality::Plain)).await;
        let index = multi_platform(1, &["linux/amd64", "linux/arm64", "linux/s390x"]);
        index.push_to(world.source.store(), "nginx/nginx", "1.27");
        let mut function = world.function("fanout", &[]).await;
        let from = format!("{}/nginx/nginx:1.27", world.source_host);
        let result = replicated(&world, &mut function, &from, &format!("{}/nginx:1.27", world.destination_host)).await;
        assert_eq!((&result["outcome"], &result["retries"]), (&"synced".into(), &0.into()), "{result}");
        world.destination.store().is_whole("nginx", "1.27").unwrap();
        assert_one_token(&world.source);
    })
    .await;
}

#[tokio::test]
async fn a_token_that_is_too_old_is_replaced_once_whichever_status_says_so() {
    watched(async {
        // Sources have seen either; none comes with a challenge.
        for status in [400, 403] {
            let world = to_public(|builder| builder.expired_status(status)).await;
            let images = [Image::small(1), Image::small(2)];
            images[0].push_to(world.source.store(), "team/app", "v1");
            images[1].push_to(world.source.store(), "team/app", "v2");
            let mut function = world.function("on-push", &[]).await;
            pushed(&mut function, "team/app", "v1", &images[0].digest).await;
            world.destination.expire_tokens();
            world.forget();
            let result = pushed(&mut function, "team/app", "v2", &images[1].digest).await;
            assert_eq!(result["outcome"], "synced", "{status}: {result}");
            let journal = world.destination.journal();
            let refused = journal.entries().iter().filter(|entry| entry.status == status).count();
            assert_eq!(refused, 1, "{status}: what is known to be stale is not sent again");
            // The password of the API has ended with it, which the token service says.
            assert_eq!(world.aws.count("ecr-public", "GetAuthorizationToken"), 1, "{status}");
        }
    })
    .await;
}

/// An answer without a text says nothing of the token, but for one to `HEAD`, which has none.
#[tokio::test]
async fn an_empty_400_to_anything_else_is_no_token_that_is_too_old() {
    watched(async {
        let mut world = to_public(|builder| builder).await;
        world.config["limits"] = serde_json::json!({ "max_attempts": 1 });
        let image = Image::small(1);
        image.push_to(world.source.store(), "team/app", "v1");
        let empty = Action::Status { code: 400, headers: Vec::new(), body: String::new() };
        world.destination.faults().add(Fault::on(Kind::ManifestPut).forever().then(empty));
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
        assert_ne!(error_type, "Unauthorized", "{message}");
        let journal = world.destination.journal();
        assert_eq!((journal.count(Kind::ManifestPut), journal.count(Kind::Token)), (1, 1), "{message}");
    })
    .await;
}
