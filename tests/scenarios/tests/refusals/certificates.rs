//! Who is not trusted, and who speaks in the clear.

use emulator::{Authority, Image, Personality, Registry};
use scenarios::{World, watchdog::watch, world::SOURCE};
use serde_json::json;
use tokio::{io::AsyncReadExt, net::TcpListener};

use crate::ground::{LIMIT, REPOSITORY, impatient, pushed, refused, synced};

async fn world() -> (World, Image) {
    let mut world = World::to(Personality::Plain, |destination| destination).await;
    impatient(&mut world);
    let image = Image::small(1);
    image.push_to(world.source.store(), REPOSITORY, "v1");
    (world, image)
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_an_error_that_says_where_to_trust_it() {
    watch("a_certificate_that_is_not_trusted_is_an_error_that_says_where_to_trust_it", LIMIT, |_| async {
        let (mut world, image) = world().await;
        let destination = world.destination_host.clone();
        let other = Authority::new();
        for host in [SOURCE.to_owned(), destination] {
            let right = world.registry_config(&host).remove("ca_certificate").unwrap();
            for trust in [None, Some(other.pem())] {
                if let Some(pem) = trust {
                    world.registry_config(&host).insert("ca_certificate".into(), json!(pem));
                }
                let mut function = world.function("on-push", &[]).await;
                let refusal = refused(&world, &mut function, pushed("v1", &image.digest)).await;
                let key = format!("registries.\"{host}\".ca_certificate");
                refusal.is("InvalidConfig", &[&host, "team/app", "certificate is not trusted", &key]);
            }
            world.registry_config(&host).insert("ca_certificate".into(), right);
        }
        assert!(world.destination.journal().entries().iter().all(|entry| entry.tls));
    })
    .await;
}

#[tokio::test]
async fn a_certificate_of_another_name_is_not_trusted() {
    watch("a_certificate_of_another_name_is_not_trusted", LIMIT, |_| async {
        let (mut world, image) = world().await;
        let host = world.destination_host.clone();
        let names = ["registry.example.test"];
        let other = Registry::builder(Personality::Plain).tls_names(&world.authority, &names).start().await;
        world.registry_config(&host).insert("endpoint".into(), json!(other.url()));
        let mut function = world.function("on-push", &[]).await;
        let refusal = refused(&world, &mut function, pushed("v1", &image.digest)).await;
        refusal.is("InvalidConfig", &[&host, "certificate is not trusted"]);
        assert!(other.journal().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_registry_that_speaks_plain_http_is_refused_and_the_switch_is_named() {
    watch("a_registry_that_speaks_plain_http_is_refused_and_the_switch_is_named", LIMIT, |_| async {
        let (mut world, image) = world().await;
        let plain = Registry::builder(Personality::Plain).start().await;
        let host = plain.host();
        world.rule().insert("destinations".into(), json!([format!("{host}/mirror/{{repository}}")]));
        let mut function = world.function("on-push", &[]).await;
        let refusal = refused(&world, &mut function, pushed("v1", &image.digest)).await;
        let key = format!("registries.\"{host}\".plain_http");
        refusal.is("InvalidConfig", &[&host, "mirror/team/app", "does not speak TLS", &key]);
        assert!(plain.journal().is_empty(), "{:?}", plain.journal().entries());
        world.config["registries"][&host] = json!({ "plain_http": true });
        let mut function = world.function("on-push", &[]).await;
        synced(&mut function, pushed("v1", &image.digest)).await;
    })
    .await;
}

#[tokio::test]
async fn nothing_readable_is_sent_to_a_server_that_listens_where_a_registry_should_be() {
    watch("nothing_readable_is_sent_to_a_server_that_listens_where_a_registry_should_be", LIMIT, |_| async {
        let (mut world, image) = world().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let heard = tokio::spawn(async move {
            let mut all = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut bytes = vec![0; 4096];
                let read = stream.read(&mut bytes).await.unwrap_or(0);
                all.push(bytes[..read].to_vec());
                if all.len() == 2 {
                    break; // as many as there are attempts
                }
            }
            all
        });
        world.rule().insert("destinations".into(), json!([format!("{host}/mirror/{{repository}}")]));
        world.config["registries"][&host] = json!({ "credentials": "env:LOGIN" });
        let mut function = world.function("on-push", &[("LOGIN", "robot:hunter2")]).await;
        refused(&world, &mut function, pushed("v1", &image.digest)).await.is("Unavailable", &[&host]);
        for hello in heard.await.unwrap() {
            let text = String::from_utf8_lossy(&hello).to_string();
            assert_eq!(hello.first(), Some(&0x16), "a TLS handshake is all that is sent: {text}");
            assert!(!text.contains("hunter2") && !text.contains("mirror"), "{text}");
        }
    })
    .await;
}
