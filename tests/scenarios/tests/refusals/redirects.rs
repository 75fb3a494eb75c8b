//! Where a blob read may be led: out, without credentials, and never in.

use emulator::{Action, Authorization, Fault, Image, Kind, Origin, Personality, Registry};
use scenarios::{Function, World, watchdog::watch, world::SOURCE};
use serde_json::json;

use crate::ground::{LIMIT, MIRROR, REPOSITORY, impatient, pushed, refused, synced};

/// A world whose source serves its blobs itself, so that the script alone redirects, and another origin that has
/// everything that the source has and asks nobody for credentials.
async fn worlds() -> (World, Image, Registry) {
    let mut world = World::build(|source| source.serve_blobs(), Registry::builder(Personality::Plain), None).await;
    impatient(&mut world);
    let image = Image::small(1);
    image.push_to(world.source.store(), REPOSITORY, "v1");
    let other = Registry::builder(Personality::Plain).tls(&world.authority).store(world.source.store()).start().await;
    (world, image, other)
}

/// Leads the read of every blob of `image` to the same path below `base`.
fn lead(registry: &Registry, image: &Image, base: &str) {
    for blob in image.blobs() {
        let location = format!("{base}/v2/{REPOSITORY}/blobs/{blob}");
        let to = Action::Status { code: 307, headers: vec![("Location".into(), location)], body: String::new() };
        registry.faults().add(Fault::on(Kind::BlobGet).at(Origin::Registry).path(&blob).forever().then(to));
    }
}

async fn is_not_followed(world: &World, function: &mut Function, image: &Image, base: &str, part: &str) {
    lead(&world.source, image, base);
    let refusal = refused(world, function, pushed("v1", &image.digest)).await;
    refusal.is("UnsafeRedirect", &["reading blob", SOURCE, "team/app", part]);
    world.source.faults().clear();
}

#[tokio::test]
async fn no_redirect_leads_inside_the_machine_or_the_network() {
    watch("no_redirect_leads_inside_the_machine_or_the_network", LIMIT, |_| async {
        let (world, image, other) = worlds().await;
        let port = other.addr().port();
        let mut function = world.function("on-push", &[]).await;
        for host in [
            "127.0.0.1",
            "127.9.9.9",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "0.0.0.0",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "169.254.170.2",
            "169.254.169.254",
            "[fd00:ec2::254]",
            "[fe80::1]",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "[fc00::1]",
        ] {
            let base = format!("https://{host}:{port}");
            is_not_followed(&world, &mut function, &image, &base, "`redirects`").await;
        }
        // By name: found out when the name is resolved.
        for name in ["localhost", "LOCALHOST"] {
            let base = format!("https://{name}:{port}");
            is_not_followed(&world, &mut function, &image, &base, "127.0.0.1, an address that a registry may not")
                .await;
        }
        for base in [format!("http://127.0.0.1:{port}"), "http://169.254.170.2".into(), "http://1.1.1.1".into()] {
            is_not_followed(&world, &mut function, &image, &base, "from https to http").await;
        }
        for base in ["ftp://1.1.1.1", "file:///etc/passwd?", "data:text/plain,", "unix:/run/x"] {
            is_not_followed(&world, &mut function, &image, base, "is no http or https URL").await;
        }
        assert_eq!(other.journal().connections(), 0, "{:?}", other.journal().entries());
        synced(&mut function, pushed("v1", &image.digest)).await;
    })
    .await;
}

#[tokio::test]
async fn a_registrys_own_name_on_another_port_is_another_place() {
    watch("a_registrys_own_name_on_another_port_is_another_place", LIMIT, |_| async {
        let (mut world, image, other) = worlds().await;
        let (own, port) = (world.source.addr().port(), other.addr().port());
        world.registry_config(SOURCE).insert("endpoint".into(), json!(format!("https://localhost:{own}")));
        let mut function = world.function("on-push", &[]).await;
        is_not_followed(&world, &mut function, &image, &format!("https://localhost:{port}"), ".redirects").await;
        assert_eq!(other.journal().connections(), 0, "{:?}", other.journal().entries());
        synced(&mut function, pushed("v1", &image.digest)).await;
    })
    .await;
}

#[tokio::test]
async fn a_place_that_is_configured_is_read_from_without_credentials() {
    watch("a_place_that_is_configured_is_read_from_without_credentials", LIMIT, |_| async {
        let (mut world, image, other) = worlds().await;
        let port = other.addr().port();
        for (host, tag) in [("127.0.0.1", "v1"), ("localhost", "v2")] {
            image.push_to(world.source.store(), REPOSITORY, tag);
            let place = format!("{host}:{port}");
            world.registry_config(SOURCE).insert("redirects".into(), json!([place]));
            let mut function = world.function("on-push", &[]).await;
            lead(&world.source, &image, &format!("https://{place}"));
            world.destination.store().remove_repository(MIRROR);
            world.forget();
            synced(&mut function, pushed(tag, &image.digest)).await;
            world.destination.store().is_whole(MIRROR, tag).unwrap();
            let asked = world.source.journal().of(Kind::BlobGet);
            assert!(asked.iter().all(|entry| entry.authorization == Authorization::Basic), "{asked:#?}");
            let read = other.journal().of(Kind::BlobGet);
            assert_eq!(read.len(), image.blobs().len());
            assert!(read.iter().all(|entry| entry.authorization == Authorization::None), "{read:#?}");
            world.source.faults().clear();
            other.journal().clear();
        }
    })
    .await;
}

#[tokio::test]
async fn every_step_of_a_chain_is_checked() {
    watch("every_step_of_a_chain_is_checked", LIMIT, |_| async {
        let (mut world, image, other) = worlds().await;
        let third = Registry::builder(Personality::Plain).tls(&world.authority).start().await;
        world.registry_config(SOURCE).insert("redirects".into(), json!([other.host()]));
        let mut function = world.function("on-push", &[]).await;
        lead(&other, &image, &third.url());
        is_not_followed(&world, &mut function, &image, &other.url(), "`redirects`").await;
        other.faults().clear();
        lead(&other, &image, &format!("http://{}", third.host()));
        is_not_followed(&world, &mut function, &image, &other.url(), "from https to http").await;
        assert!(!other.journal().is_empty());
        assert_eq!(third.journal().connections(), 0, "{:?}", third.journal().entries());
    })
    .await;
}

#[tokio::test]
async fn plain_http_is_led_to_no_other_plain_http() {
    watch("plain_http_is_led_to_no_other_plain_http", LIMIT, |_| async {
        let (mut world, image, _) = worlds().await;
        let source = Registry::builder(Personality::Ecr).serve_blobs().store(world.source.store()).start().await;
        let other = Registry::builder(Personality::Plain).store(world.source.store()).start().await;
        let plain =
            |redirects: &[String]| json!({ "endpoint": source.url(), "plain_http": true, "redirects": redirects });
        world.config["registries"][SOURCE] = plain(&[]);
        let mut function = world.function("on-push", &[]).await;
        lead(&source, &image, &other.url());
        let refusal = refused(&world, &mut function, pushed("v1", &image.digest)).await;
        refusal.is("UnsafeRedirect", &["reading blob", SOURCE, "plain HTTP", "`redirects`"]);
        assert_eq!(other.journal().connections(), 0);
        world.config["registries"][SOURCE] = plain(&[other.host()]);
        let mut function = world.function("on-push", &[]).await;
        synced(&mut function, pushed("v1", &image.digest)).await;
        assert!(other.journal().of(Kind::BlobGet).iter().all(|entry| entry.authorization == Authorization::None));
    })
    .await;
}

#[tokio::test]
async fn a_circle_of_redirects_ends() {
    watch("a_circle_of_redirects_ends", LIMIT, |_| async {
        let (mut world, image, other) = worlds().await;
        world.registry_config(SOURCE).insert("redirects".into(), json!([other.host()]));
        let mut function = world.function("on-push", &[]).await;
        is_not_followed(&world, &mut function, &image, "", "over 10 redirects").await;
        let asked = world.source.journal().count(Kind::BlobGet);
        assert!(asked <= 11 * image.blobs().len(), "{asked} requests");
        lead(&other, &image, &world.source.url());
        is_not_followed(&world, &mut function, &image, &other.url(), "over 10 redirects").await;
        let read = other.journal().of(Kind::BlobGet);
        assert!(read.iter().all(|entry| entry.authorization == Authorization::None), "{read:#?}");
    })
    .await;
}

#[tokio::test]
async fn a_redirect_without_a_location_is_an_error() {
    watch("a_redirect_without_a_location_is_an_error", LIMIT, |_| async {
        let (world, image, _) = worlds().await;
        let fault = Fault::on(Kind::BlobGet).at(Origin::Registry).forever().then(Action::status(307));
        world.source.faults().add(fault);
        let mut function = world.function("on-push", &[]).await;
        let refusal = refused(&world, &mut function, pushed("v1", &image.digest)).await;
        refusal.is("UnsafeRedirect", &["reading blob", SOURCE, "names no Location"]);
    })
    .await;
}

/// Said of registry.k8s.io. A manifest decides what is read next, and no registry needs another one to send it.
#[tokio::test]
async fn a_manifest_is_read_at_the_registry_itself_alone() {
    watch("a_manifest_is_read_at_the_registry_itself_alone", LIMIT, |_| async {
        let (mut world, image, other) = worlds().await;
        // Blobs may be led there; that says nothing of manifests.
        world.registry_config(SOURCE).insert("redirects".into(), json!([other.host()]));
        let location = format!("{}/v2/{REPOSITORY}/manifests/v1", other.url());
        let to = Action::Status { code: 307, headers: vec![("Location".into(), location)], body: String::new() };
        world.source.faults().add(Fault::on(Kind::ManifestGet).forever().then(to));
        let mut function = world.function("on-push", &[]).await;
        let refusal = refused(&world, &mut function, pushed("v1", &image.digest)).await;
        refusal.is("UnsafeRedirect", &["reading manifest", SOURCE, "307", "only reads of blobs follow redirects"]);
        assert_eq!((other.journal().connections(), world.source.journal().count(Kind::ManifestGet)), (0, 1));
        world.source.faults().clear();
        synced(&mut function, pushed("v1", &image.digest)).await;
    })
    .await;
}
