//! Blobs of another repository of the same registry: mounted where that is granted, else sent in the session that the
//! refusal opened.

use emulator::{Image, Kind, Personality, Registry, image::raw_layer};
use scenarios::{World, world::SOURCE};

use crate::support::{pushed, replicated, watched};

fn image() -> Image {
    Image::builder().layer(raw_layer(1, 30_000)).layer(raw_layer(2, 20_000)).build()
}

/// From `team/*` to `mirror/team/*`, both in the source registry.
async fn within_ecr(blob_mounting: bool) -> World {
    let mut world = World::ecr(|destination| destination).await;
    world.source.set_blob_mounting(blob_mounting);
    world.rule().insert("source".into(), serde_json::json!({ "repository": "team/**" }));
    world.rule().insert("destinations".into(), serde_json::json!([format!("{SOURCE}/mirror/{{repository}}")]));
    image().push_to(world.source.store(), "team/app", "v1");
    world.source.store().create_repository("mirror/team/app");
    world
}

#[tokio::test]
async fn ecr_mounts_every_blob_where_the_account_allows_it() {
    watched(async {
        let world = within_ecr(true).await;
        let mut function = world.function("on-push", &[]).await;
        let result = pushed(&mut function, "team/app", "v1", &image().digest).await;
        assert_eq!(result["outcome"], "synced");
        assert_eq!((&result["blobs"]["mounted"], &result["blobs"]["transferred"]), (&3.into(), &0.into()));
        assert_eq!(result["bytes"]["avoided"], 50_000 + image().config.len());
        assert_eq!(result["bytes"]["read"], 0);
        world.source.store().is_whole("mirror/team/app", "v1").unwrap();
        let journal = world.source.journal();
        assert_eq!(journal.count_status(Kind::Mount, 201), 3);
        for kind in [Kind::UploadStart, Kind::UploadPut, Kind::UploadPatch, Kind::BlobGet] {
            assert_eq!(journal.count(kind), 0, "{kind:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_mount_that_is_not_granted_goes_on_in_the_session_it_opened() {
    watched(async {
        let world = within_ecr(false).await;
        let mut function = world.function("on-push", &[]).await;
        let result = pushed(&mut function, "team/app", "v1", &image().digest).await;
        assert_eq!(result["outcome"], "synced");
        assert_eq!((&result["blobs"]["mounted"], &result["blobs"]["transferred"]), (&0.into(), &3.into()));
        world.source.store().is_whole("mirror/team/app", "v1").unwrap();
        let journal = world.source.journal();
        assert_eq!(journal.count_status(Kind::Mount, 202), 3, "one POST for each blob, which asked for a mount");
        assert_eq!(journal.count(Kind::UploadStart), 0, "and no second one");
        assert_eq!(journal.count(Kind::UploadPut), 3);
        assert_eq!(world.source.open_uploads(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_plain_registry_mounts_from_the_source_repository() {
    watched(async {
        let plain = || Registry::builder(Personality::Plain);
        let world = World::between(plain(), plain()).await;
        let host = &world.source_host;
        image().push_to(world.source.store(), "team/app", "v1");
        let mut function = world.function("fanout", &[]).await;
        let (from, to) = (format!("{host}/team/app:v1"), format!("{host}/copy/app:v1"));
        let result = replicated(&world, &mut function, &from, &to).await;
        assert_eq!((&result["outcome"], &result["blobs"]["mounted"]), (&"synced".into(), &3.into()));
        world.source.store().is_whole("copy/app", "v1").unwrap();
        let journal = world.source.journal();
        assert_eq!(journal.count(Kind::UploadPut) + journal.count(Kind::BlobGet), 0);
        for mount in journal.of(Kind::Mount) {
            let query = mount.query.unwrap();
            assert!(query.contains("from=team%2Fapp"), "{query}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_mount_that_is_refused_outright_becomes_an_upload() {
    watched(async {
        let plain = || Registry::builder(Personality::Plain);
        let world = World::between(plain(), plain()).await;
        let host = &world.source_host;
        let refused = emulator::Action::error(405, "UNSUPPORTED", "mounts are not supported");
        world.source.faults().add(emulator::Fault::on(Kind::Mount).forever().then(refused));
        image().push_to(world.source.store(), "team/app", "v1");
        let mut function = world.function("fanout", &[]).await;
        let (from, to) = (format!("{host}/team/app:v1"), format!("{host}/copy/app:v1"));
        let result = replicated(&world, &mut function, &from, &to).await;
        assert_eq!((&result["outcome"], &result["blobs"]["transferred"]), (&"synced".into(), &3.into()));
        world.source.store().is_whole("copy/app", "v1").unwrap();
        assert_eq!(world.source.journal().count(Kind::UploadStart), 3);
    })
    .await;
}

#[tokio::test]
async fn harbors_401_for_a_mount_is_no_word_on_the_credentials() {
    watched(async {
        let harbor = Registry::builder(Personality::Harbor).token_server("robot$project+pusher", "robot-secret");
        let mut world = World::between(harbor, Registry::builder(Personality::Plain)).await;
        let host = world.source_host.clone();
        world.registry_config(&host).insert("credentials".into(), "env:LOGIN".into());
        let refused = emulator::Action::error(401, "UNAUTHORIZED", "unauthorized to access repository, action: pull");
        world.source.faults().add(emulator::Fault::on(Kind::Mount).forever().then(refused));
        image().push_to(world.source.store(), "project/app", "v1");
        let mut function = world.function("fanout", &[("LOGIN", "robot$project+pusher:robot-secret")]).await;
        let (from, to) = (format!("{host}/project/app:v1"), format!("{host}/project/copy:v1"));
        let result = replicated(&world, &mut function, &from, &to).await;
        assert_eq!((&result["outcome"], &result["blobs"]["transferred"]), (&"synced".into(), &3.into()));
        world.source.store().is_whole("project/copy", "v1").unwrap();
        assert_eq!(world.source.open_uploads(), 0);
    })
    .await;
}

#[tokio::test]
async fn ghcr_mounts_within_one_owner_only() {
    watched(async {
        for (to, mounted, transferred) in [("octocat/copy", 3, 0), ("other/copy", 0, 3)] {
            let ghcr = Registry::builder(Personality::Ghcr).open();
            let world = World::between(ghcr, Registry::builder(Personality::Plain)).await;
            image().push_to(world.source.store(), "octocat/app", "v1");
            let mut function = world.function("fanout", &[]).await;
            let host = &world.source_host;
            let (from, to) = (format!("{host}/octocat/app:v1"), format!("{host}/{to}:v1"));
            let result = replicated(&world, &mut function, &from, &to).await;
            let blobs = (&result["blobs"]["mounted"], &result["blobs"]["transferred"]);
            assert_eq!(blobs, (&mounted.into(), &transferred.into()), "{to}");
        }
    })
    .await;
}

#[tokio::test]
async fn nothing_is_mounted_across_registries() {
    watched(async {
        let world = World::ecr(|destination| destination.blob_mounting(true)).await;
        image().push_to(world.source.store(), "team/app", "v1");
        world.destination.store().create_repository("mirror/team/app");
        let mut function = world.function("on-push", &[]).await;
        pushed(&mut function, "team/app", "v1", &image().digest).await;
        assert_eq!(world.destination.journal().count(Kind::Mount), 0);
        assert_eq!(world.destination.journal().count(Kind::UploadPut), 3);
    })
    .await;
}

/// By a login that needs the scopes of both repositories, where the kind has tokens.
#[tokio::test]
async fn each_kind_mounts_or_goes_on_in_the_session_that_it_opened() {
    watched(async {
        let kinds = [
            (Personality::Acr, true),
            (Personality::DockerHub, true),
            (Personality::Quay, true),
            (Personality::Harbor, true),
            // What one source has seen granted at Artifact Registry, another never: the personality grants none.
            (Personality::Gar, false),
            (Personality::EcrPublic, false),
        ];
        for (personality, granted) in kinds {
            let public = personality == Personality::EcrPublic;
            let kind = Registry::builder(personality).alias("project");
            // One of Artifact Registry's own users; any will do elsewhere.
            let kind = if public { kind } else { kind.token_server("oauth2accesstoken", "access") };
            let mut world = World::between(kind, Registry::builder(Personality::Plain)).await;
            let host = world.source_host.clone();
            if !public {
                world.registry_config(&host).insert("credentials".into(), "env:LOGIN".into());
            }
            image().push_to(world.source.store(), "project/images/app", "v1");
            world.source.store().create_repository("project/images/copy");
            let mut function = world.function("fanout", &[("LOGIN", "oauth2accesstoken:access")]).await;
            let (from, to) = (format!("{host}/project/images/app:v1"), format!("{host}/project/images/copy:v1"));
            let result = replicated(&world, &mut function, &from, &to).await;
            let blobs = (&result["blobs"]["mounted"], &result["blobs"]["transferred"]);
            let expected = if granted { (3, 0) } else { (0, 3) };
            assert_eq!(blobs, (&expected.0.into(), &expected.1.into()), "{personality:?}: {result}");
            assert_eq!(
                (&result["outcome"], &result["retries"]),
                (&"synced".into(), &0.into()),
                "{personality:?}: {result}"
            );
            world.source.store().is_whole("project/images/copy", "v1").unwrap();
            let journal = world.source.journal();
            assert_eq!(journal.count_status(Kind::Mount, if granted { 201 } else { 202 }), 3, "{personality:?}");
            assert_eq!(journal.count(Kind::UploadStart), 0, "{personality:?}: a refused mount opens the session");
            assert_eq!(world.source.open_uploads(), 0, "{personality:?}");
        }
    })
    .await;
}
