//! Credentials: what can't be had is named by its place, and what was had is never told.

use emulator::{Action, Fault, Image, Kind, Personality};
use scenarios::{World, watchdog::watch};
use serde_json::json;

use crate::ground::{LIMIT, REPOSITORY, Refusal, assert_no_secret_is_told, impatient, pushed, refused, synced};

const PASSWORD: &str = "hunter2-of-the-registry";

async fn world(tokens: bool) -> (World, Image) {
    let locked = |builder: emulator::Builder| match tokens {
        true => builder.token_server("robot", PASSWORD),
        false => builder.basic("robot", PASSWORD),
    };
    let mut world = World::to(Personality::Plain, locked).await;
    impatient(&mut world);
    let image = Image::small(1);
    image.push_to(world.source.store(), REPOSITORY, "v1");
    (world, image)
}

#[tokio::test]
async fn a_secret_that_is_missing_or_makes_no_sense_is_named_and_not_repeated() {
    watch("a_secret_that_is_missing_or_makes_no_sense_is_named_and_not_repeated", LIMIT, |_| async {
        let (mut world, image) = world(false).await;
        let host = world.destination_host.clone();
        let secrets = world.aws.secrets();
        secrets.put("no-pair", PASSWORD);
        secrets.put("no-json", &format!("{{\"password\": \"{PASSWORD}\""));
        secrets.put("no-entry", &json!({ "auths": { "ghcr.io": { "auth": PASSWORD } } }).to_string());
        secrets.put("no-base64", &json!({ "auths": { host.as_str(): { "auth": PASSWORD } } }).to_string());
        secrets.put_binary("no-text", PASSWORD.as_bytes());
        for (credentials, parts) in [
            ("secretsmanager:none", ["the secret none", "ResourceNotFoundException"]),
            ("secretsmanager:no-pair", ["the secret no-pair", "expected USER:PASSWORD or JSON"]),
            ("secretsmanager:no-json", ["the secret no-json", "neither"]),
            ("secretsmanager:no-entry", ["the secret no-entry", "no entry for"]),
            ("secretsmanager:no-base64", ["the secret no-base64", "not base64"]),
            ("secretsmanager:no-text", ["the secret no-text", "holds no text"]),
            ("env:NONE", ["the environment variable NONE", "is not set"]),
            ("env:LOGIN", ["the environment variable LOGIN", "expected USER:PASSWORD or JSON"]),
        ] {
            world.registry_config(&host).insert("credentials".into(), json!(credentials));
            let mut function = world.function("on-push", &[("LOGIN", PASSWORD)]).await;
            let refusal = refused(&world, &mut function, pushed("v1", &image.digest)).await;
            assert!(!refusal.message.contains("hunter2"), "{}", refusal.message);
            refusal.is("Unauthorized", &[&["reading the credentials of", &host], &parts[..]].concat());
            assert_no_secret_is_told(&function, &["hunter2"]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_secret_that_may_not_be_read_is_named() {
    watch("a_secret_that_may_not_be_read_is_named", LIMIT, |_| async {
        let (mut world, image) = world(true).await;
        let host = world.destination_host.clone();
        let arn = world.aws.secrets().put("login", &format!("robot:{PASSWORD}"));
        world.registry_config(&host).insert("credentials".into(), json!(format!("secretsmanager:{arn}")));
        let text = "User is not authorized to perform: secretsmanager:GetSecretValue";
        let denied = emulator::aws::ApiError::client("AccessDeniedException", text);
        world.aws.fail_next("GetSecretValue", denied, 1);
        let mut function = world.function("on-push", &[]).await;
        let refusal = refused(&world, &mut function, pushed("v1", &image.digest)).await;
        refusal.is("Denied", &[&host, &arn, "secretsmanager:GetSecretValue"]);
        synced(&mut function, pushed("v1", &image.digest)).await;
    })
    .await;
}

#[tokio::test]
async fn no_log_line_at_any_level_holds_a_secret() {
    watch("no_log_line_at_any_level_holds_a_secret", LIMIT, |_| async {
        for (tokens, format) in [(false, "JSON"), (true, "Text")] {
            let (mut world, image) = world(tokens).await;
            let host = world.destination_host.clone();
            world.registry_config(&host).insert("credentials".into(), json!("env:LOGIN"));
            let login = format!("robot:{PASSWORD}");
            let env = [
                ("LOGIN", login.as_str()),
                ("AWS_LAMBDA_LOG_LEVEL", "TRACE"),
                ("AWS_LAMBDA_LOG_FORMAT", format),
                ("RUST_LOG", "trace"),
            ];
            let mut function = world.function("on-push", &env).await;
            synced(&mut function, pushed("v1", &image.digest)).await;
            // What breaks is told at length: here every kind of request, with its URL and its headers at hand.
            for kind in [Kind::ManifestHead, Kind::UploadStart, Kind::UploadPut, Kind::ManifestPut, Kind::Token] {
                world.destination.expire_tokens();
                let failure = Fault::on(kind).forever().then(Action::error(500, "UNKNOWN", "it broke"));
                world.destination.faults().add(failure);
                let tag = format!("{kind:?}");
                let image = Image::builder().label("for", &tag).build();
                image.push_to(world.source.store(), REPOSITORY, &tag);
                let outcome = function.invoke(pushed(&tag, &image.digest), LIMIT).await;
                if tokens || kind != Kind::Token {
                    Refusal::of(outcome).is("Unavailable", &["500"]);
                }
                world.destination.faults().clear();
            }
            let signed = Fault::on(Kind::BlobGet).forever().then(Action::status(500));
            world.source.faults().add(signed.at(emulator::Origin::Blobs));
            let image = Image::small(9);
            image.push_to(world.source.store(), REPOSITORY, "v9");
            let refusal = Refusal::of(function.invoke(pushed("v9", &image.digest), LIMIT).await);
            let refusal = refusal.is("Unavailable", &["500", "where the registry led"]);
            assert!(!refusal.message.contains("ASIAEMULATOR"), "{}", refusal.message);

            let basic = base64_of(&login);
            // ECR's and the token service's tokens are base64 of JSON: `{"account":`, `{"service":`.
            let secrets = ["hunter2", &basic, "eyJhY2NvdW50Ijoi", "eyJzZXJ2aWNlIjoi", "QVdTOmV5S", "ASIAEMULATOR"];
            assert_no_secret_is_told(&function, &secrets);
            assert!(function.lines().len() > 20, "it was asked to tell everything");
        }
    })
    .await;
}

/// Of ASCII text; for one literal this is less than a dependency.
fn base64_of(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = |chunk: &[u8]| {
        let number = chunk.iter().fold(0_usize, |number, byte| number << 8 | usize::from(*byte));
        [18, 12, 6, 0].map(|shift| char::from(DIGITS[number >> shift & 63]))
    };
    // Whole groups of three: a secret's start gives it away as well as its end.
    text.as_bytes().chunks_exact(3).flat_map(digits).collect()
}
