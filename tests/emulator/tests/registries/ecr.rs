//! ECR's data plane.

use std::time::Duration;

use emulator::{Access, Image, Personality, Registry, digest::sha256, image, image::layer};

use crate::common::{World, error, header, noise};

const MIB: usize = 1024 * 1024;

async fn world() -> World {
    let world = World::new(Personality::Ecr).await;
    world.registry.store().create_repository("app");
    world
}

#[tokio::test]
async fn only_a_token_of_the_api_opens_the_door() {
    let world = world().await;
    let url = format!("{}/v2/app/tags/list", world.registry.url());
    let answer = world.client.get(&url).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    let expected = format!("Basic realm=\"{}/\",service=\"ecr.amazonaws.com\"", world.registry.url());
    assert_eq!(header(&answer, "www-authenticate"), expected);
    let answer = world.client.get(&url).basic_auth("AWS", Some("guess")).send().await.unwrap();
    assert_eq!(answer.status(), 403);
    let answer = world.get("/v2/app/tags/list").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "content-type")), (200, "text/plain; charset=utf-8".into()));
    world.registry.expire_tokens();
    let (status, code, message) = error(world.get("/v2/app/tags/list").send().await.unwrap()).await;
    assert_eq!((status, code.as_str()), (403, "DENIED"));
    assert_eq!(message, "Your authorization token has expired. Reauthenticate and try again.");
}

#[tokio::test]
async fn a_missing_repository_is_an_error_or_the_end_of_the_connection() {
    let world = world().await;
    let (status, code, message) = error(world.get("/v2/none/manifests/v1").send().await.unwrap()).await;
    assert_eq!((status, code.as_str()), (404, "NAME_UNKNOWN"));
    let expected = "The repository with name 'none' does not exist in the registry with id '111122223333'";
    assert_eq!(message, expected);
    assert_eq!(world.post("/v2/none/blobs/uploads/").send().await.unwrap().status(), 404);
    let world = World::with(Registry::builder(Personality::Ecr).missing_repository_eof()).await;
    assert_eq!(world.head("/v2/none/manifests/v1").send().await.unwrap().status(), 404);
    assert!(world.post("/v2/none/blobs/uploads/").send().await.is_err());
}

#[tokio::test]
async fn patches_answer_201_and_a_range_that_stays() {
    let world = world().await;
    let (first, second) = (noise(1, 5 * MIB), noise(2, 100));
    let location = world.begin("app").await;
    assert!(location.starts_with(&world.registry.url()));
    let range = format!("0-{}", first.len() - 1);
    let answer = world.patch(&location).header("content-range", &range).body(first.clone()).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "range")), (201, range.clone()));
    let again = world.patch(&location).header("content-range", &range).body(first.clone()).send().await.unwrap();
    let (status, code, message) = error(again).await;
    assert_eq!((status, code.as_str()), (416, "BLOB_UPLOAD_INVALID"));
    assert_eq!(message, format!("First byte of the layer part is 0 instead of {}", 5 * MIB));
    let next = format!("{}-{}", 5 * MIB, 5 * MIB + 99);
    let answer = world.patch(&location).header("content-range", next).body(second.clone()).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "range")), (201, range));
    let digest = sha256(&[first, second].concat());
    assert_eq!(world.finish(&location, &digest, vec![]).await.status(), 201);
}

#[tokio::test]
async fn parts_but_the_last_are_large_and_there_is_one() {
    let world = world().await;
    let location = world.begin("app").await;
    world.patch(&location).body("small").send().await.unwrap();
    world.patch(&location).body("last").send().await.unwrap();
    let (status, _, message) = error(world.finish(&location, &sha256(b"smalllast"), vec![]).await).await;
    assert_eq!(status, 400);
    assert_eq!(message, "All layer parts except the last part should be at least 5MB");
    let location = world.begin("app").await;
    let (status, code, message) = error(world.finish(&location, &sha256(b""), vec![]).await).await;
    assert_eq!((status, code.as_str()), (400, "BLOB_UPLOAD_INVALID"));
    assert!(message.ends_with("cannot be completed because it does not have any parts."), "{message}");
}

#[tokio::test]
async fn blobs_are_read_from_another_origin_without_credentials() {
    let world = world().await;
    let digest = world.upload("app", b"content").await;
    let path = format!("/v2/app/blobs/{digest}");
    assert_eq!(world.head(&path).send().await.unwrap().status(), 200);
    let answer = world.get(&path).send().await.unwrap();
    assert_eq!(answer.status(), 307);
    let location = header(&answer, "location");
    assert!(location.contains(&world.registry.blob_origin().unwrap()));
    let refused = world.get(&location).send().await.unwrap();
    assert_eq!(refused.status(), 400);
    assert!(refused.text().await.unwrap().contains("Only one auth mechanism allowed"));
    let answer = world.client.get(&location).header("range", "bytes=1-2").send().await.unwrap();
    assert_eq!(answer.status(), 206);
    assert_eq!(answer.text().await.unwrap(), "on");
    let bare = location.split('?').next().unwrap();
    assert_eq!(world.client.get(bare).send().await.unwrap().status(), 403);
}

#[tokio::test]
async fn a_manifest_lags_behind_its_blobs() {
    let lag = Duration::from_millis(700);
    let world = World::with(Registry::builder(Personality::Ecr).validation_lag(lag)).await;
    world.registry.store().create_repository("app");
    let image = Image::small(1);
    let (status, code, message) = error(world.push(&image, "app", "v1").await).await;
    assert_eq!((status, code.as_str()), (404, "BLOB_UNKNOWN"), "{message}");
    let path = format!("/v2/app/blobs/{}", image.layers[0].digest());
    assert_eq!(world.head(&path).send().await.unwrap().status(), 200);
    tokio::time::sleep(lag).await;
    let answer = world.put_manifest("app", "v1", &image.media_type, &image.manifest).await;
    assert_eq!((answer.status().as_u16(), header(&answer, "location")), (201, String::new()));
}

#[tokio::test]
async fn an_immutable_tag_stays_even_for_the_same_digest() {
    let world = world().await;
    let image = Image::small(1);
    assert_eq!(world.push(&image, "app", "v1").await.status(), 201);
    world.registry.store().set_immutable("app", true);
    let again = world.put_manifest("app", "v1", &image.media_type, &image.manifest).await;
    let (status, code, message) = error(again).await;
    assert_eq!((status, code.as_str()), (400, "TAG_INVALID"));
    let expected = "The image tag 'v1' already exists in the 'app' repository and cannot be overwritten because the \
                    tag is immutable.";
    assert_eq!(message, expected);
    assert_eq!(world.put_manifest("app", "v2", &image.media_type, &image.manifest).await.status(), 201);
}

#[tokio::test]
async fn what_is_no_json_is_unsupported() {
    let world = world().await;
    let (status, code, message) = error(world.put_manifest("app", "v1", image::OCI_MANIFEST, b"{").await).await;
    assert_eq!((status, code.as_str()), (405, "UNSUPPORTED"));
    assert!(message.contains("Invalid JSON syntax"));
    assert_eq!(world.head("/v2/app/manifests/a+b").send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_pull_by_tag_converts_and_one_by_digest_does_not() {
    let world = world().await;
    let image = Image::small(1);
    image.push_to(world.registry.store(), "app", "v1");
    let get = |reference: &str| {
        world.get(&format!("/v2/app/manifests/{reference}")).header("accept", image::DOCKER_MANIFEST).send()
    };
    let answer = get("v1").await.unwrap();
    assert_eq!(header(&answer, "content-type"), image::DOCKER_MANIFEST);
    let digest = header(&answer, "docker-content-digest");
    assert_ne!(digest, image.digest);
    assert_eq!(sha256(&answer.bytes().await.unwrap()), digest);
    assert_eq!(get(&image.digest).await.unwrap().status(), 404);
}

#[tokio::test]
async fn a_mount_needs_the_setting_and_a_committed_manifest() {
    let world = world().await;
    world.registry.store().create_repository("copy");
    let image = Image::builder().layer(layer(1, 100)).build();
    let digest = image.layers[0].digest();
    let mount = || async {
        world.post(&format!("/v2/copy/blobs/uploads/?mount={digest}&from=app")).send().await.unwrap().status().as_u16()
    };
    image.push_blobs_to(world.registry.store(), "app");
    assert_eq!(mount().await, 202);
    world.registry.set_blob_mounting(true);
    assert_eq!(mount().await, 202);
    image.push_to(world.registry.store(), "app", "v1");
    assert_eq!(mount().await, 201);
    assert!(world.registry.store().has_blob("copy", digest));
}

#[tokio::test]
async fn what_no_policy_allows_is_denied_in_awss_words() {
    let world = world().await;
    world.registry.store().deny("app", Access::Push);
    let (status, code, message) = error(world.post("/v2/app/blobs/uploads/").send().await.unwrap()).await;
    assert_eq!((status, code.as_str()), (403, "DENIED"));
    let expected = "User: arn:aws:iam::111122223333:user/test is not authorized to perform: \
                    ecr:InitiateLayerUpload on resource: arn:aws:ecr:us-east-1:111122223333:repository/app because \
                    no identity-based policy allows the ecr:InitiateLayerUpload action";
    assert_eq!(message, expected);
    assert_eq!(world.get("/v2/app/tags/list").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn manifests_are_put_ten_times_a_second() {
    let world = World::with(Registry::builder(Personality::Ecr).rate_limits(true)).await;
    let image = Image::small(1);
    image.push_to(world.registry.store(), "app", "v0");
    let mut refused = 0;
    for number in 0..15 {
        let put = world.put_manifest("app", &format!("v{number}"), &image.media_type, &image.manifest).await;
        let status = put.status().as_u16();
        if status == 429 {
            assert_eq!(error(put).await.2, "Rate exceeded");
            refused += 1;
        }
    }
    assert!((1..=5).contains(&refused), "{refused}");
}

#[tokio::test]
async fn a_broken_part_leaves_no_trace() {
    let world = world().await;
    let location = world.begin("app").await;
    let cut = emulator::Fault::on(emulator::Kind::UploadPut).then(emulator::Action::CutRequestAfter(1000));
    world.registry.faults().add(cut);
    let bytes = noise(1, 200_000);
    let url = format!("{location}?digest={}", sha256(&bytes));
    assert!(world.put(&url).body(bytes.clone()).send().await.is_err());
    assert_eq!(world.finish(&location, &sha256(&bytes), bytes).await.status(), 201);
}
