//! Users and passwords: where they come from, and that they go nowhere else.

use std::time::Duration;

use emulator::{Authorization, Image, Kind, Personality, Registry};
use scenarios::{Function, World, world::push_event};
use serde_json::json;

use crate::support::{
    assert_nothing_written, delivered, eventually, failed, image_message, logged_results, pushed, replicated, watched,
};

const PASSWORD: &str = "corr3ct-h0rse:battery";

/// To a registry that takes `robot` with [`PASSWORD`], as `Basic` or for a token.
async fn guarded(tokens: bool, credentials: &str) -> (World, Image) {
    let change = |plain: emulator::Builder| {
        if tokens { plain.token_server("robot", PASSWORD) } else { plain.basic("robot", PASSWORD) }
    };
    let mut world = World::to(Personality::Plain, change).await;
    let host = world.destination_host.clone();
    world.registry_config(&host).insert("credentials".into(), credentials.into());
    let image = Image::small(1);
    image.push_to(world.source.store(), "team/app", "v1");
    (world, image)
}

fn assert_unsaid(function: &Function, secrets: &[&str]) {
    for line in function.lines() {
        for secret in secrets {
            assert!(!line.contains(secret), "a log line says a secret: {line}");
        }
    }
}

#[tokio::test]
async fn a_user_and_password_may_come_from_the_environment() {
    watched(async {
        let (world, image) = guarded(false, "env:LOGIN").await;
        let login = format!("robot:{PASSWORD}");
        // The finest logging there is, so that what could be said is said.
        let env = [("LOGIN", login.as_str()), ("AWS_LAMBDA_LOG_LEVEL", "TRACE")];
        let mut function = world.function("on-push", &env).await;
        assert_eq!(pushed(&mut function, "team/app", "v1", &image.digest).await["outcome"], "synced");
        let entries = world.destination.journal().entries();
        assert_eq!(entries[0].status, 401, "credentials are sent when they are asked for");
        assert!(entries[1..].iter().all(|entry| entry.authorization == Authorization::Basic && entry.status != 401));
        eventually("the result is logged", || !logged_results(&function).is_empty()).await;
        assert_unsaid(&function, &[PASSWORD, "cm9ib3Q6Y29ycjNjdC1oMHJzZTpiYXR0ZXJ5"]);
        assert_eq!(world.aws.count("secretsmanager", "GetSecretValue"), 0);
    })
    .await;
}

#[tokio::test]
async fn every_form_of_a_secret_in_secrets_manager_is_understood() {
    watched(async {
        let (mut world, image) = guarded(false, "env:NONE").await;
        let host = world.destination_host.clone();
        // base64 of robot:corr3ct-h0rse:battery
        let docker = json!({ "auths": { host.clone(): { "auth": "cm9ib3Q6Y29ycjNjdC1oMHJzZTpiYXR0ZXJ5" } } });
        let forms = [
            format!("robot:{PASSWORD}"),
            json!({ "username": "robot", "password": PASSWORD }).to_string(),
            docker.to_string(),
        ];
        for (number, text) in forms.iter().enumerate() {
            let arn = world.aws.secrets().put(&format!("login-{number}"), text);
            let by = if number == 0 { format!("login-{number}") } else { arn };
            world.registry_config(&host).insert("credentials".into(), format!("secretsmanager:{by}").into());
            let tag = format!("v{number}");
            image.push_to(world.source.store(), "team/app", &tag);
            let mut function = world.function("on-push", &[]).await;
            world.forget();
            assert_eq!(pushed(&mut function, "team/app", &tag, &image.digest).await["outcome"], "synced", "{text}");
            assert_eq!(pushed(&mut function, "team/app", &tag, &image.digest).await["outcome"], "current");
            assert_eq!(world.aws.count("secretsmanager", "GetSecretValue"), 1, "fetched once and kept");
        }
    })
    .await;
}

#[tokio::test]
async fn a_wrong_password_fails_after_two_tries_and_is_said_nowhere() {
    watched(async {
        for tokens in [false, true] {
            let (world, image) = guarded(tokens, "env:LOGIN").await;
            let env = [("LOGIN", "robot:wr0ng-h0rse"), ("AWS_LAMBDA_LOG_LEVEL", "TRACE")];
            let mut function = world.function("on-push", &env).await;
            let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
            assert_eq!(error_type, "Unauthorized", "{message}");
            assert!(message.contains(&world.destination_host) && message.contains("mirror/team/app"), "{message}");
            assert!(message.contains("credentials"), "it says what to do: {message}");
            assert!(world.destination.journal().len() <= 2, "{:#?}", world.destination.journal().entries());
            assert_nothing_written(&world.destination);
            assert_eq!(world.source.journal().len(), 0, "nothing is read that has nowhere to go");
            eventually("the result is logged", || !logged_results(&function).is_empty()).await;
            assert!(!message.contains("wr0ng-h0rse"), "{message}");
            assert_unsaid(&function, &["wr0ng-h0rse", "cm9ib3Q6d3IwbmctaDByc2U"]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_secret_that_was_rotated_is_fetched_again() {
    watched(async {
        for tokens in [false, true] {
            let (world, image) = guarded(tokens, "secretsmanager:login").await;
            world.aws.secrets().put("login", "robot:of-yesterday");
            let mut function = world.function("on-push", &[]).await;
            let (error_type, _) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
            assert_eq!(error_type, "Unauthorized");

            world.aws.secrets().put("login", &format!("robot:{PASSWORD}"));
            world.forget();
            assert_eq!(pushed(&mut function, "team/app", "v1", &image.digest).await["outcome"], "synced");
            assert_eq!(function.starts(), 1, "the same process: what it kept was given up");
            assert_eq!(world.aws.count("secretsmanager", "GetSecretValue"), 1);
        }
    })
    .await;
}

#[tokio::test]
async fn one_config_json_for_several_registries_is_fetched_once() {
    watched(async {
        let source = Registry::builder(Personality::Plain).basic("reader", "r3ad");
        let destination = Registry::builder(Personality::Plain).token_server("robot", PASSWORD);
        let mut world = World::between(source, destination).await;
        let (from, to) = (world.source_host.clone(), world.destination_host.clone());
        let text = |password: &str| {
            let entry = |user: &str, password: &str| json!({ "username": user, "password": password });
            let auths = json!({
                from.clone(): entry("reader", "r3ad"),
                to.clone(): entry("somebody", "else"),
                format!("{to}/mirror"): entry("robot", password),
                format!("{to}/mirror/other"): entry("nobody", "n0ne"),
                "ghcr.io": entry("third", "p"),
            });
            json!({ "auths": auths }).to_string()
        };
        world.aws.secrets().put("docker", &text(PASSWORD));
        for host in [&from, &to] {
            world.registry_config(host).insert("credentials".into(), "secretsmanager:docker".into());
        }
        let image = Image::small(1);
        image.push_to(world.source.store(), "team/app", "v1");
        image.push_to(world.source.store(), "team/two", "v1");
        let mut function = world.function("fanout", &[]).await;
        let (source, target) = (format!("{from}/team/app:v1"), format!("{to}/mirror/app:v1"));
        assert_eq!(replicated(&world, &mut function, &source, &target).await["outcome"], "synced");
        assert_eq!(replicated(&world, &mut function, &source, &target).await["outcome"], "current");
        assert_eq!(world.aws.count("secretsmanager", "GetSecretValue"), 1);

        // An entry for a part of a registry is for that part alone: here the registry's own, which it does not take.
        let outside = image_message(&source, format!("{to}/elsewhere/app:v1"));
        delivered(&world, &mut function, &outside).await;
        assert!(!world.destination.store().repositories().contains(&"elsewhere/app".to_owned()));
        assert_eq!(world.aws.count("secretsmanager", "GetSecretValue"), 2, "what is refused is fetched again, once");

        // The refusal of one entry is none of the others'.
        world.aws.secrets().put("docker", &text("of-tomorrow"));
        world.forget();
        let other = format!("{from}/team/two:v1");
        assert_eq!(
            replicated(&world, &mut function, &other, &format!("{to}/mirror/two:v1")).await["outcome"],
            "synced",
            "what is kept is good as long as it is taken"
        );
        assert_eq!(world.aws.count("secretsmanager", "GetSecretValue"), 0);
        assert_eq!(function.starts(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_missing_secret_says_which_one_and_changes_nothing() {
    watched(async {
        let (world, image) = guarded(false, "secretsmanager:not-there").await;
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
        assert_eq!(error_type, "Unauthorized", "{message}");
        assert!(message.contains("not-there") && message.contains(&world.destination_host), "{message}");
        assert_nothing_written(&world.destination);
    })
    .await;
}

#[tokio::test]
async fn credentials_do_not_follow_a_read_to_another_origin() {
    watched(async {
        let (world, image) = guarded(false, "env:LOGIN").await;
        let login = format!("robot:{PASSWORD}");
        let mut function = world.function("on-push", &[("LOGIN", login.as_str())]).await;
        pushed(&mut function, "team/app", "v1", &image.digest).await;
        let reads = world.source.journal().of(Kind::BlobGet);
        let elsewhere: Vec<_> = reads.iter().filter(|read| read.origin == emulator::Origin::Blobs).collect();
        assert_eq!(elsewhere.len(), 2, "ECR redirects blob reads");
        assert!(elsewhere.iter().all(|read| read.authorization == Authorization::None));
    })
    .await;
}

#[tokio::test]
async fn a_registry_out_of_reach_is_tried_within_its_bounds() {
    watched(async {
        let (mut world, image) = guarded(false, "env:LOGIN").await;
        let host = world.destination_host.clone();
        // Nobody listens where a socket was bound and let go.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        world.registry_config(&host).insert("endpoint".into(), format!("https://{free}").into());
        world.config["limits"] = json!({ "max_attempts": 2 });
        let mut function = world.function("on-push", &[("LOGIN", "robot:x")]).await;
        let event = push_event("team/app", "v1", &image.digest);
        let (error_type, message) = match function.invoke(event, Duration::from_secs(20)).await {
            scenarios::Outcome::Err { error_type, message } => (error_type, message),
            other => panic!("{other:?}"),
        };
        assert_eq!(error_type, "Unavailable", "{message}");
        assert!(message.contains(&host), "{message}");
    })
    .await;
}
