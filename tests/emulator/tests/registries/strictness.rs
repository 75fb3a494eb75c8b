//! Where real registries are stricter than the specification: what must be there before a push, what is not taken, what
//! is not let go.

use std::time::Duration;

use emulator::{
    Action, Authority, Fault, Image, Index, Kind, Personality, Registry,
    digest::{sha256, sha512},
};

use crate::common::{World, error, header, noise, trusting};

#[tokio::test]
async fn what_must_be_there_before_a_push() {
    for (personality, before, name, status, code) in [
        (Personality::Harbor, "other/app", "project/app", 401, "UNAUTHORIZED"),
        (Personality::Harbor, "project/base", "project/app", 202, ""),
        (Personality::Gar, "project/repository", "project/repository", 400, "NAME_INVALID"),
        (Personality::Gar, "project/other", "project/repository/app", 404, "NAME_UNKNOWN"),
        (Personality::Gar, "project/repository", "project/repository/app/deep", 202, ""),
        (Personality::DockerHub, "library/app", "app", 401, "UNAUTHORIZED"),
        (Personality::DockerHub, "library/app", "library/other", 202, ""),
    ] {
        let world = World::with(Registry::builder(personality).open()).await;
        world.registry.store().create_repository(before);
        let answer = error(world.post(&format!("/v2/{name}/blobs/uploads/")).send().await.unwrap()).await;
        assert_eq!((answer.0, answer.1.as_str()), (status, code), "{personality:?} {name}");
    }
    let world = World::with(Registry::builder(Personality::Harbor).open()).await;
    assert_eq!(
        world.get("/v2/none/app/manifests/v1").send().await.unwrap().status(),
        404,
        "a read of it finds nothing"
    );
}

#[tokio::test]
async fn an_upload_is_cancelled_where_it_stood_last() {
    for personality in Personality::ALL {
        let world = World::with(Registry::builder(personality).open()).await;
        let name = "project/repository/app";
        world.registry.store().create_repository(name);
        let first = world.begin(name).await;
        let range = |request: reqwest::RequestBuilder| request.header("content-range", "0-3").body("abcd");
        let answer = range(world.patch(&first)).send().await.unwrap();
        if personality == Personality::Gar {
            assert_eq!(answer.status(), 405);
            assert_eq!(world.delete(&first).send().await.unwrap().status(), 204);
            continue;
        }
        let (last, stateless) = (header(&answer, "location"), header(&answer, "location") == first);
        assert_eq!(stateless, matches!(personality, Personality::Ecr | Personality::EcrPublic), "{personality:?}");
        if !stateless {
            assert_eq!(world.delete(&first).send().await.unwrap().status(), 416, "{personality:?}");
            assert_eq!(world.registry.open_uploads(), 1);
        }
        assert_eq!(world.delete(&last).send().await.unwrap().status(), 204, "{personality:?}");
        assert_eq!(world.registry.open_uploads(), 0);
    }
}

#[tokio::test]
async fn sha512_is_taken_by_few() {
    for personality in Personality::ALL {
        let world = World::with(Registry::builder(personality).open()).await;
        let name = "project/repository/app";
        world.registry.store().create_repository(name);
        let location = world.begin(name).await;
        let (status, code, _) = error(world.finish(&location, &sha512(b"x"), b"x".to_vec()).await).await;
        let taken = matches!(personality, Personality::Plain | Personality::Harbor);
        let expected = if taken { (201, "") } else { (400, "DIGEST_INVALID") };
        assert_eq!((status, code.as_str()), expected, "{personality:?}");
    }
}

#[tokio::test]
async fn docker_hub_takes_no_large_put_and_harbor_no_more_than_its_quota() {
    let world = World::new(Personality::DockerHub).await;
    let location = world.begin("acme/app").await;
    let large = noise(1, (20 << 20) + 1);
    let join = if location.contains('?') { '&' } else { '?' };
    let url = format!("{location}{join}digest={}", sha256(&large));
    // Over HTTP/1.1 a client that is still sending may see the connection break instead.
    if let Ok(answer) = world.put(&url).body(large).send().await {
        assert_eq!((answer.status().as_u16(), header(&answer, "content-type")), (400, "text/plain".to_owned()));
    }
    let world = World::with(Registry::builder(Personality::Harbor).quota(5)).await;
    world.registry.store().put_blob("project/base", "12");
    let location = world.begin("project/app").await;
    let (status, _, message) = error(world.finish(&location, &sha256(b"3456"), b"3456".to_vec()).await).await;
    assert!(status == 412 && message.contains("upper limit"), "{status} {message}");
}

#[tokio::test]
async fn a_short_chunk_is_refused_where_a_least_size_was_told() {
    let world = World::with(Registry::builder(Personality::Plain).least_chunk(4)).await;
    for (first, status) in [("abc", 400), ("abcd", 201)] {
        let answer = world.post("/v2/a/blobs/uploads/").send().await.unwrap();
        assert_eq!(header(&answer, "oci-chunk-min-length"), "4");
        let answer = world.patch(&header(&answer, "location")).body(first).send().await.unwrap();
        let answer = world.patch(&header(&answer, "location")).body("z").send().await.unwrap();
        let digest = sha256(format!("{first}z").as_bytes());
        assert_eq!(world.finish(&header(&answer, "location"), &digest, vec![]).await.status(), status, "{first}");
    }
}

#[tokio::test]
async fn ecr_keeps_what_an_index_lists() {
    let world = World::new(Personality::Ecr).await;
    let index = Index::of(&[&Image::small(1), &Image::small(2)]);
    index.push_to(world.registry.store(), "app", "v1");
    let child = format!("/v2/app/manifests/{}", Image::small(1).digest);
    assert_eq!(world.delete(&child).send().await.unwrap().status(), 400);
    assert_eq!(world.delete(&format!("/v2/app/manifests/{}", index.digest)).send().await.unwrap().status(), 202);
    assert_eq!(world.delete(&child).send().await.unwrap().status(), 202);
}

#[tokio::test]
async fn artifact_manifests_of_before_oci_1_1_are_taken_by_few() {
    for personality in Personality::ALL {
        let world = World::with(Registry::builder(personality).open()).await;
        let name = "project/repository/app";
        let blob = world.registry.store().put_blob(name, "sbom");
        let media_type = "application/vnd.cncf.oras.artifact.manifest.v1+json";
        let descriptor = serde_json::json!({"mediaType": "text/plain", "digest": blob, "size": 4});
        let body =
            serde_json::json!({"mediaType": media_type, "artifactType": "x/y", "blobs": [descriptor]}).to_string();
        let answer = world.put_manifest(name, "v1", media_type, body.as_bytes()).await;
        let taken = matches!(personality, Personality::Plain | Personality::Ecr);
        assert_eq!(answer.status() == 201, taken, "{personality:?}: {}", answer.status());
    }
}

#[tokio::test]
async fn ghcr_calls_a_wrong_password_a_denial() {
    let world = World::with(Registry::builder(Personality::Ghcr).token_server("me", "right")).await;
    let path = "/token?service=ghcr.io&scope=repository:me/app:pull";
    let (status, code, _) = error(world.get(path).basic_auth("me", Some("wrong")).send().await.unwrap()).await;
    assert_eq!((status, code.as_str()), (403, "DENIED"));
    assert_eq!(world.get(path).basic_auth("me", Some("right")).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn an_upload_at_ghcr_ends_with_its_time() {
    let limit = Duration::from_millis(300);
    let authority = Authority::new();
    let builder = Registry::builder(Personality::Ghcr).open().upload_limit(limit).tls(&authority);
    let world = World::over(builder, trusting(&authority)).await;
    world.upload("octocat/app", b"quick enough").await;
    let slow = Fault::on(Kind::UploadPatch).then(Action::SlowRead(10_000));
    world.registry.faults().add(slow);
    let location = world.begin("octocat/app").await;
    assert!(world.patch(&location).body(noise(1, 100_000)).send().await.is_err(), "it is broken off");
    let (status, code, _) = error(world.patch(&location).body("more").send().await.unwrap()).await;
    assert_eq!((status, code.as_str()), (404, "BLOB_UPLOAD_UNKNOWN"), "and its session is gone");
    assert_eq!(world.registry.open_uploads(), 0);
}
