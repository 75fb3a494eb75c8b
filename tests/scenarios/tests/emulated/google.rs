//! Artifact Registry: without any secret, and with the secrets that Google gives.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use emulator::{Builder, Google, Image, Kind, Personality, Registry};
use scenarios::{Function, World, world::push_event};
use serde_json::{Value, json};

use crate::support::{assert_nothing_written, eventually, failed, logged_results, pushed, watched};

const AUDIENCE: &str = "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/aws/providers/lambda";
const ACCOUNT: &str = "pusher@acme.iam.gserviceaccount.com";
const KEY: &str = "AKIA111122223333";
const SECRET: &str = "secret-of-the-function";

/// From ECR to Artifact Registry, for which nothing but the identity is configured.
async fn keyless(change: impl FnOnce(Builder) -> Builder) -> (World, Google, Image) {
    // Its own user has a password that nobody is told.
    let mut world = World::to(Personality::Gar, |gar| change(gar.token_server("_json_key", "unknown"))).await;
    let google = Google::start(&world.authority, AUDIENCE, KEY, SECRET).await;
    let identity = json!({ "audience": AUDIENCE, "token_endpoint": google.url(), "iam_endpoint": google.url() });
    set(&mut world, "workload_identity", identity);
    let image = Image::small(1);
    image.push_to(world.source.store(), "team/app", "v1");
    image.push_to(world.source.store(), "team/other", "v1");
    world.destination.store().create_repository("mirror/team/app");
    (world, google, image)
}

fn set(world: &mut World, key: &str, value: Value) {
    let host = world.destination_host.clone();
    world.registry_config(&host).insert(key.into(), value);
}

fn become_account(world: &mut World, google: &Google) {
    google.require_service_account(ACCOUNT);
    let host = world.destination_host.clone();
    world.registry_config(&host)["workload_identity"]["service_account"] = ACCOUNT.into();
}

fn paths(google: &Google) -> Vec<String> {
    google.calls().into_iter().map(|call| call.path).collect()
}

/// Asserts that no log line holds one of these, the function's own credentials, or what was signed with them.
fn assert_unsaid(function: &Function, secrets: &[&str]) {
    for line in function.lines() {
        for secret in secrets.iter().chain(&[SECRET, "token-of-the-function", "aws4_request"]) {
            assert!(!line.contains(secret), "a log line says a secret: {line}");
        }
    }
}

#[tokio::test]
async fn an_image_gets_to_artifact_registry_with_no_secret_anywhere() {
    watched(async {
        for impersonates in [false, true] {
            let (mut world, google, image) = keyless(|gar| gar).await;
            if impersonates {
                become_account(&mut world, &google);
            }
            let mut function = world.function("on-push", &[("AWS_LAMBDA_LOG_LEVEL", "TRACE")]).await;
            assert_eq!(pushed(&mut function, "team/app", "v1", &image.digest).await["outcome"], "synced");
            world.destination.store().is_whole("mirror/team/app", "v1").unwrap();
            let account = format!("/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken");
            let all = ["/v1/token", account.as_str()];
            assert_eq!(paths(&google), all[..if impersonates { 2 } else { 1 }]);
            assert!(google.calls().iter().all(|call| call.status == 200), "{:?}", google.calls());
            assert_eq!(world.aws.count("secretsmanager", "GetSecretValue"), 0);
            assert_eq!(world.aws.count("sts", "GetCallerIdentity"), 0, "Google asks AWS, not the function");
            eventually("the result is logged", || !logged_results(&function).is_empty()).await;
            // Tokens here begin so, alone and after `oauth2accesstoken:` in base64.
            assert_unsaid(&function, &["eyJzZXJ2aWNlIjoi", "b2F1dGgyYWNjZXNzdG9rZW46"]);
        }
    })
    .await;
}

#[tokio::test]
async fn googles_token_is_fetched_once_and_again_when_it_has_ended_or_is_refused() {
    watched(async {
        // A token of the registry's own for each repository; all of them for one of Google's.
        let (mut world, google, image) = keyless(|gar| gar).await;
        become_account(&mut world, &google);
        let mut function = world.function("on-push", &[]).await;
        for (repository, outcome) in [("team/app", "synced"), ("team/other", "synced"), ("team/app", "current")] {
            assert_eq!(pushed(&mut function, repository, "v1", &image.digest).await["outcome"], outcome);
        }
        assert_eq!(world.destination.journal().count(Kind::Token), 2);
        assert_eq!(google.calls().len(), 2, "one token, in two steps");

        // Refused: Google's token and the registry's own are revoked.
        world.destination.expire_tokens();
        world.forget();
        assert_eq!(pushed(&mut function, "team/app", "v1", &image.digest).await["outcome"], "current");
        assert_eq!(world.destination.journal().count_status(Kind::Token, 401), 1);
        assert_eq!(google.calls().len(), 4);

        // Ended: what comes next lives three seconds.
        google.set_lifetime(Duration::from_secs(3));
        world.destination.expire_tokens();
        pushed(&mut function, "team/app", "v1", &image.digest).await;
        let before = google.calls().len();
        tokio::time::sleep(Duration::from_millis(3100)).await;
        google.set_lifetime(Duration::from_secs(3600));
        let image = Image::small(2);
        image.push_to(world.source.store(), "team/third", "v1");
        world.forget();
        assert_eq!(pushed(&mut function, "team/third", "v1", &image.digest).await["outcome"], "synced");
        assert_eq!(google.calls().len(), before + 2);
        assert_eq!(world.destination.journal().count_status(Kind::Token, 401), 0, "an ended token is not sent");
        assert_eq!(function.starts(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_wrong_audience_or_account_is_named_and_nothing_secret_said() {
    watched(async {
        let event = |image: &Image| push_event("team/app", "v1", &image.digest);
        let (mut world, google, image) = keyless(|gar| gar).await;
        let host = world.destination_host.clone();
        let other = AUDIENCE.replace("lambda", "another");
        world.registry_config(&host)["workload_identity"]["audience"] = other.as_str().into();
        world.registry_config(&host)["workload_identity"]["service_account"] = ACCOUNT.into();
        let mut function = world.function("on-push", &[("AWS_LAMBDA_LOG_LEVEL", "TRACE")]).await;
        let (error_type, message) = failed(&mut function, event(&image)).await;
        assert_eq!(error_type, "Unauthorized", "{message}");
        for part in [&host, "mirror/team/app", &other, ACCOUNT, "invalid_target", "check workload_identity.audience"] {
            assert!(message.contains(part), "`{part}` is not in: {message}");
        }
        assert_eq!(google.calls().len(), 1, "a refusal is not asked for again");
        assert_nothing_written(&world.destination);
        assert_eq!(world.source.journal().len(), 0, "nothing is read that has nowhere to go");
        assert_unsaid(&function, &[]);

        // The pool knows the function, but it may not become that account.
        let (mut world, google, image) = keyless(|gar| gar).await;
        google.require_service_account("somebody-else@acme.iam.gserviceaccount.com");
        let host = world.destination_host.clone();
        world.registry_config(&host)["workload_identity"]["service_account"] = ACCOUNT.into();
        let mut function = world.function("on-push", &[("AWS_LAMBDA_LOG_LEVEL", "TRACE")]).await;
        let (error_type, message) = failed(&mut function, event(&image)).await;
        assert_eq!(error_type, "Denied", "{message}");
        for part in [AUDIENCE, ACCOUNT, "PERMISSION_DENIED", "roles/iam.workloadIdentityUser"] {
            assert!(message.contains(part), "`{part}` is not in: {message}");
        }
        assert_unsaid(&function, &["eyJzZXJ2aWNlIjoi"]);

        // Another function's signature is none of the pool's.
        let env = [("AWS_SECRET_ACCESS_KEY", "another-secret")];
        let mut function = world.function("on-push", &env).await;
        let (error_type, message) = failed(&mut function, event(&image)).await;
        assert_eq!(error_type, "Unauthorized", "{message}");
        assert!(message.contains("invalid_grant"), "{message}");
    })
    .await;
}

#[tokio::test]
async fn a_passing_trouble_at_google_is_waited_out_and_a_redirect_is_not_followed() {
    watched(async {
        let (world, google, image) = keyless(|gar| gar).await;
        google.answer_next(503, None);
        google.answer_next(429, None);
        let mut function = world.function("on-push", &[]).await;
        assert_eq!(pushed(&mut function, "team/app", "v1", &image.digest).await["outcome"], "synced");
        assert_eq!(google.calls().iter().map(|call| call.status).collect::<Vec<_>>(), [503, 429, 200]);

        let (world, google, image) = keyless(|gar| gar).await;
        let evil = Google::start(&world.authority, AUDIENCE, KEY, SECRET).await;
        google.answer_next(307, Some(&format!("{}/v1/token", evil.url())));
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
        assert_eq!(error_type, "UnsafeRedirect", "{message}");
        assert!(evil.calls().is_empty());
    })
    .await;
}

/// A key file as Google gives it, with nothing real in it.
fn key_file() -> String {
    let key = json!({
        "type": "service_account",
        "project_id": "acme",
        "private_key_id": "0",
        "private_key": "not-a-key: hunter2\n",
        "client_email": ACCOUNT,
    });
    serde_json::to_string_pretty(&key).unwrap()
}

#[tokio::test]
async fn artifact_registry_takes_keys_and_access_tokens_under_their_own_names() {
    watched(async {
        let file = key_file();
        let mut world = World::to(Personality::Gar, |gar| gar.token_server("_json_key", &file)).await;
        world.destination.store().create_repository("mirror/team/app");
        let image = Image::small(1);
        let token = Google::access_token(Duration::from_secs(300));
        for (number, text) in [
            file.clone(),
            format!("_json_key:{file}"),
            format!("_json_key_base64:{}", BASE64_STANDARD.encode(&file)),
            json!({ "username": "_json_key", "password": file }).to_string(),
            format!("oauth2accesstoken:{token}"),
        ]
        .into_iter()
        .enumerate()
        {
            world.aws.secrets().put(&format!("gar-{number}"), &text);
            set(&mut world, "credentials", format!("secretsmanager:gar-{number}").into());
            let tag = format!("v{number}");
            image.push_to(world.source.store(), "team/app", &tag);
            let mut function = world.function("on-push", &[("AWS_LAMBDA_LOG_LEVEL", "TRACE")]).await;
            let result = pushed(&mut function, "team/app", &tag, &image.digest).await;
            assert_eq!(result["outcome"], "synced", "{number}");
            assert_unsaid(&function, &["hunter2", &token]);
        }
        // The same under a user of another kind of registry.
        world.aws.secrets().put("gar-9", &json!({ "username": "robot", "password": file }).to_string());
        set(&mut world, "credentials", "secretsmanager:gar-9".into());
        let mut function = world.function("on-push", &[]).await;
        let (error_type, _) = failed(&mut function, push_event("team/app", "v0", &image.digest)).await;
        assert_eq!(error_type, "Unauthorized");
    })
    .await;
}

#[tokio::test]
async fn a_service_accounts_key_is_given_to_no_other_kind_of_registry() {
    watched(async {
        let plain = Registry::builder(Personality::Plain).basic("_json_key", &key_file());
        let mut world = World::build(|source| source, plain, None).await;
        world.aws.secrets().put("key", &key_file());
        set(&mut world, "credentials", "secretsmanager:key".into());
        let image = Image::small(1);
        image.push_to(world.source.store(), "team/app", "v1");
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
        assert_eq!(error_type, "Unauthorized", "{message}");
        assert!(message.contains("Google service account") && !message.contains("hunter2"), "{message}");
        assert_nothing_written(&world.destination);
    })
    .await;
}
