//! ACR by an application of Microsoft Entra ID: signed in at the authority, exchanged at the registry, once.

use std::time::Duration;

use emulator::{Action, Authorization, Builder, Entra, Fault, Image, Kind, Personality};
use scenarios::{Function, World, world::push_event};
use serde_json::json;

use crate::support::{assert_nothing_written, failed, pushed, watched};

const TENANT: &str = "00000000-aaaa-4000-8000-000000000001";
const CLIENT: &str = "00000000-bbbb-4000-8000-000000000002";
const SECRET: &str = "hunter2~of-the-application";

fn secret(text: &str) -> String {
    json!({ "tenant": TENANT, "client_id": CLIENT, "client_secret": text }).to_string()
}

/// From ECR to ACR, by an application that both know; the registry's own user is nobody's.
async fn world(change: impl FnOnce(Builder) -> Builder) -> (World, Entra, Image) {
    let mut world = World::to(Personality::Acr, |acr| change(acr.token_server("nobody", "unknown"))).await;
    let entra = Entra::start(&world.authority, TENANT, CLIENT, SECRET).await;
    world.aws.secrets().put("acr", &secret(SECRET));
    let host = world.destination_host.clone();
    world.registry_config(&host).insert("credentials".into(), "secretsmanager:acr".into());
    world.registry_config(&host).insert("authority".into(), entra.url().into());
    let image = Image::small(1);
    image.push_to(world.source.store(), "team/app", "v1");
    image.push_to(world.source.store(), "team/other", "v1");
    (world, entra, image)
}

fn exchanges(world: &World) -> usize {
    world.destination.journal().entries().iter().filter(|entry| entry.path == "/oauth2/exchange").count()
}

fn assert_unsaid(function: &Function) {
    for line in function.lines() {
        for secret in ["hunter2", "eyJzZXJ2aWNlIjoi"] {
            assert!(!line.contains(secret), "a log line says a secret: {line}");
        }
    }
}

#[tokio::test]
async fn an_application_is_exchanged_once_for_all_repositories_and_its_secret_stays_with_the_authority() {
    watched(async {
        let (world, entra, image) = world(|acr| acr).await;
        let mut function = world.function("on-push", &[("AWS_LAMBDA_LOG_LEVEL", "TRACE")]).await;
        for repository in ["team/app", "team/other"] {
            assert_eq!(pushed(&mut function, repository, "v1", &image.digest).await["outcome"], "synced");
            world.destination.store().is_whole(&format!("mirror/{repository}"), "v1").unwrap();
        }
        assert_eq!((entra.calls().len(), exchanges(&world)), (1, 1));
        assert_eq!(world.destination.journal().count(Kind::Token), 2, "each repository has a token of its own");
        assert_eq!(world.aws.count("secretsmanager", "GetSecretValue"), 1);
        let journal = world.destination.journal().entries();
        assert!(journal.iter().all(|entry| entry.authorization != Authorization::Basic));
        let forms = world.destination.forms();
        assert_eq!(forms.len(), 3);
        assert!(forms[0].contains("grant_type=access_token") && forms[0].contains(TENANT), "{}", forms[0]);
        assert!(forms.iter().all(|form| !form.contains("hunter2")), "the application's secret is the authority's");
        assert!(entra.calls()[0].body.contains("hunter2"));
        assert_unsaid(&function);
    })
    .await;
}

#[tokio::test]
async fn what_was_exchanged_is_replaced_when_it_has_ended_or_is_refused() {
    watched(async {
        let (world, entra, image) = world(|acr| acr.refresh_lifetime(Duration::from_secs(2))).await;
        let mut function = world.function("on-push", &[]).await;
        pushed(&mut function, "team/app", "v1", &image.digest).await;
        let before = exchanges(&world);
        // Ended, before its time was up.
        tokio::time::sleep(Duration::from_millis(2100)).await;
        assert_eq!(pushed(&mut function, "team/other", "v1", &image.digest).await["outcome"], "synced");
        assert_eq!(exchanges(&world), before + 1);

        // Revoked, with all that came of it.
        let before = (entra.calls().len(), exchanges(&world));
        world.destination.expire_tokens();
        assert_eq!(pushed(&mut function, "team/app", "v1", &image.digest).await["outcome"], "current");
        assert_eq!((entra.calls().len(), exchanges(&world)), (before.0 + 1, before.1 + 1));
        assert_eq!(world.aws.count("secretsmanager", "GetSecretValue"), 1, "the secret is as good as before");
        assert_eq!(function.starts(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_rotated_secret_is_fetched_again_and_a_wrong_one_is_named_without_being_said() {
    watched(async {
        let (world, entra, image) = world(|acr| acr).await;
        let mut function = world.function("on-push", &[("AWS_LAMBDA_LOG_LEVEL", "TRACE")]).await;
        pushed(&mut function, "team/app", "v1", &image.digest).await;
        entra.rotate("hunter2~of-today");
        world.aws.secrets().put("acr", &secret("hunter2~of-today"));
        world.destination.expire_tokens();
        assert_eq!(pushed(&mut function, "team/other", "v1", &image.digest).await["outcome"], "synced");
        assert_eq!(world.aws.count("secretsmanager", "GetSecretValue"), 2);

        entra.rotate("hunter2~of-tomorrow");
        world.destination.expire_tokens();
        world.forget();
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
        assert_eq!(error_type, "Unauthorized", "{message}");
        for part in [CLIENT, TENANT, &entra.url(), &world.destination_host, "AADSTS7000215", "check tenant"] {
            assert!(message.contains(part), "`{part}` is not in: {message}");
        }
        assert!(!message.contains("hunter2"), "the authority repeats what it was sent: {message}");
        assert_eq!(exchanges(&world), 0);
        assert_nothing_written(&world.destination);
        assert_unsaid(&function);
    })
    .await;
}

#[tokio::test]
async fn neither_the_authority_nor_the_exchange_may_lead_elsewhere() {
    watched(async {
        for at_authority in [true, false] {
            let (world, entra, image) = world(|acr| acr).await;
            let evil = Entra::start(&world.authority, TENANT, CLIENT, SECRET).await;
            let elsewhere = format!("{}/{TENANT}/oauth2/v2.0/token", evil.url());
            if at_authority {
                entra.answer_next(307, Some(&elsewhere));
            } else {
                let to =
                    Action::Status { code: 307, headers: vec![("Location".into(), elsewhere)], body: String::new() };
                world.destination.faults().add(Fault::on(Kind::Other).method("POST").then(to));
            }
            let mut function = world.function("on-push", &[]).await;
            let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
            assert_eq!(error_type, "UnsafeRedirect", "{message}");
            assert!(evil.calls().is_empty(), "{at_authority}");
            assert_nothing_written(&world.destination);
        }
    })
    .await;
}

#[tokio::test]
async fn an_identity_token_and_a_token_of_the_registry_work_as_they_are() {
    watched(async {
        let (mut world, entra, image) = world(|acr| acr).await;
        let host = world.destination_host.clone();
        // What `docker login` by an `az acr login` keeps: the registry's refresh token.
        let client = scenarios::http_client::client(Some(world.authority.pem()));
        let url = format!("{}/oauth2/token?service={host}&offline_token=true", world.destination.url());
        let answer = client.get(url).basic_auth("nobody", Some("unknown")).send().await.unwrap();
        let answer: serde_json::Value = answer.json().await.unwrap();
        let auths = json!({ "auths": { host.clone(): { "identitytoken": answer["refresh_token"] } } });
        for (number, text) in [auths.to_string(), "nobody:unknown".into()].iter().enumerate() {
            world.aws.secrets().put(&format!("other-{number}"), text);
            let credentials = format!("secretsmanager:other-{number}");
            world.registry_config(&host).insert("credentials".into(), credentials.into());
            let mut function = world.function("on-push", &[]).await;
            let repository = ["team/app", "team/other"][number];
            assert_eq!(pushed(&mut function, repository, "v1", &image.digest).await["outcome"], "synced");
        }
        assert_eq!((entra.calls().len(), exchanges(&world)), (0, 0));
    })
    .await;
}
