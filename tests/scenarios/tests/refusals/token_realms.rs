//! Credentials go to the registry's own token service, and to no other that it may name.

use emulator::{Action, Authorization, Fault, Image, Kind, Origin, Personality, Registry};
use scenarios::{World, watchdog::watch};
use serde_json::json;

use crate::ground::{LIMIT, MIRROR, REPOSITORY, assert_no_secret_is_told, impatient, pushed, refused, synced};

const PASSWORD: &str = "hunter2-of-the-registry";

/// A destination with a token service of its own, and another origin that would gladly be asked for tokens.
async fn worlds() -> (World, Image, Registry) {
    let mut world = World::to(Personality::Plain, |builder| builder.token_server("robot", PASSWORD)).await;
    impatient(&mut world);
    let host = world.destination_host.clone();
    world.registry_config(&host).insert("credentials".into(), json!("env:LOGIN"));
    let image = Image::small(1);
    image.push_to(world.source.store(), REPOSITORY, "v1");
    let evil = Registry::builder(Personality::Plain).tls(&world.authority).start().await;
    (world, image, evil)
}

const LOGIN: [(&str, &str); 1] = [("LOGIN", "robot:hunter2-of-the-registry")];

#[tokio::test]
async fn a_realm_outside_the_registrys_own_domain_gets_no_credentials() {
    watch("a_realm_outside_the_registrys_own_domain_gets_no_credentials", LIMIT, |_| async {
        let (world, image, evil) = worlds().await;
        let (port, host) = (evil.addr().port(), world.destination_host.clone());
        let mut function = world.function("on-push", &LOGIN).await;
        for (realm, part) in [
            (format!("https://localhost:{port}/token"), "outside the registry's own domain"),
            (format!("https://127.0.0.2:{port}/token"), "outside the registry's own domain"),
            (format!("https://[::1]:{port}/token"), "outside the registry's own domain"),
            ("https://169.254.170.2/token".into(), "outside the registry's own domain"),
            ("https://auth.docker.io/token".into(), "outside the registry's own domain"),
            ("https://127.0.0.1.example.test/token".into(), "outside the registry's own domain"),
            (format!("https://127.0.0.1@localhost:{port}/token"), "outside the registry's own domain"),
            (format!("http://127.0.0.1:{port}/token"), "is not https"),
            (format!("http://{host}/token"), "is not https"),
            ("ftp://127.0.0.1/token".into(), "no http or https URL"),
            ("/token".into(), "is no URL"),
            (String::new(), "is no URL"),
        ] {
            let challenge = format!("Bearer realm=\"{realm}\",service=\"{host}\"");
            let header = Action::Header { name: "www-authenticate".into(), value: challenge };
            let fired = world.destination.faults().add(Fault::any().at(Origin::Registry).forever().then(header));
            let refusal = refused(&world, &mut function, pushed("v1", &image.digest)).await;
            assert!(fired.count() > 0, "{realm}");
            refusal.is("UnsafeRedirect", &[&host, "mirror/team/app", "token service", part]);
            world.destination.faults().clear();
        }
        assert_eq!(evil.journal().connections(), 0, "{:?}", evil.journal().entries());
        assert_no_secret_is_told(&function, &["hunter2"]);
        // What was refused is not kept: the next challenge is as good as the first.
        synced(&mut function, pushed("v1", &image.digest)).await;
        world.destination.store().is_whole(MIRROR, "v1").unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_token_service_that_redirects_is_not_followed() {
    watch("a_token_service_that_redirects_is_not_followed", LIMIT, |_| async {
        let (world, image, evil) = worlds().await;
        let mut function = world.function("on-push", &LOGIN).await;
        for code in [301, 302, 303, 307, 308] {
            let headers = vec![("Location".to_owned(), format!("{}/token", evil.url()))];
            let to = Action::Status { code, headers, body: String::new() };
            world.destination.faults().add(Fault::on(Kind::Token).forever().then(to));
            let refusal = refused(&world, &mut function, pushed("v1", &image.digest)).await;
            refusal.is("UnsafeRedirect", &[&world.destination_host, "token service", "redirects are not followed"]);
            world.destination.faults().clear();
        }
        assert_eq!(evil.journal().connections(), 0, "{:?}", evil.journal().entries());
        synced(&mut function, pushed("v1", &image.digest)).await;
    })
    .await;
}

#[tokio::test]
async fn credentials_are_sent_only_to_the_end_that_they_are_for() {
    watch("credentials_are_sent_only_to_the_end_that_they_are_for", LIMIT, |_| async {
        let (world, image, _) = worlds().await;
        let mut function = world.function("on-push", &LOGIN).await;
        synced(&mut function, pushed("v1", &image.digest)).await;
        for entry in world.source.journal().entries() {
            let expected = if entry.origin == Origin::Blobs { Authorization::None } else { Authorization::Basic };
            assert_eq!(entry.authorization, expected, "{entry:#?}");
        }
        for entry in world.destination.journal().entries() {
            match entry.origin {
                Origin::Tokens => assert_eq!(entry.authorization, Authorization::Basic, "{entry:#?}"),
                // The first request finds out how to ask.
                _ => assert_ne!(entry.authorization, Authorization::Basic, "{entry:#?}"),
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_token_service_that_makes_no_sense_is_an_error() {
    watch("a_token_service_that_makes_no_sense_is_an_error", LIMIT, |_| async {
        let (world, image, _) = worlds().await;
        let mut function = world.function("on-push", &LOGIN).await;
        for (body, part) in [
            ("", "no token JSON"),
            ("<html>sign in</html>", "no token JSON"),
            ("{}", "holds none"),
            (r#"{"token":""}"#, "holds none"),
            (r#"{"token":"line\r\nX-Forged: 1"}"#, "characters that no header can"),
        ] {
            let answer = Action::Status { code: 200, headers: Vec::new(), body: body.into() };
            world.destination.faults().add(Fault::on(Kind::Token).forever().then(answer));
            let refusal = refused(&world, &mut function, pushed("v1", &image.digest)).await;
            let error_type = refusal.error_type.clone();
            assert!(["Unavailable", "Unauthorized"].contains(&error_type.as_str()), "{refusal:?}");
            refusal.is(&error_type, &["mirror/team/app", part]);
            world.destination.faults().clear();
        }
        synced(&mut function, pushed("v1", &image.digest)).await;
    })
    .await;
}
