//! What is peculiar to the other registries.

use emulator::{Image, Personality, Registry, digest::sha256};

use crate::common::{World, error, header, noise};

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn ghcr_takes_small_ranges_only_and_a_second_patch_overwrites() {
    let world = World::new(Personality::Ghcr).await;
    let location = world.begin("acme/app").await;
    let big = noise(1, 4 * MIB + 1);
    let range = format!("0-{}", big.len() - 1);
    let answer = world.patch(&location).header("content-range", range).body(big.clone()).send().await.unwrap();
    let (status, code, _) = error(answer).await;
    assert_eq!((status, code.as_str()), (416, "REQUESTED_RANGE_NOT_SATISFIABLE"));
    let answer = world.patch(&location).body(big.clone()).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    let answer = world.patch(&header(&answer, "location")).body("second").send().await.unwrap();
    let location = header(&answer, "location");
    assert_eq!(world.finish(&location, &sha256(b"second"), vec![]).await.status(), 201);
    let path = format!("/v2/acme/app/referrers/{}", sha256(b""));
    assert_eq!(world.get(&path).send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn gar_refuses_chunks_and_unknown_lengths() {
    let world = World::new(Personality::Gar).await;
    world.registry.store().create_repository("project/repo/app");
    let location = world.begin("project/repo/app").await;
    assert!(location.starts_with("/artifacts-uploads/namespaces/"));
    assert_eq!(world.patch(&location).body("x").send().await.unwrap().status(), 405);
    let stream = reqwest::Body::wrap_stream(futures::stream::iter([Ok::<_, std::io::Error>("x")]));
    let url = format!("{location}&digest={}", sha256(b"x"));
    assert_eq!(world.put(&url).body(stream).send().await.unwrap().status(), 411);
    assert_eq!(world.finish(&location, &sha256(b"x"), b"x".to_vec()).await.status(), 201);
}

#[tokio::test]
async fn acr_has_a_limit_on_bodies_and_wants_ranges() {
    let world = World::new(Personality::Acr).await;
    let location = world.begin("app").await;
    assert!(location.contains("?_nouploadcache=false&_state="));
    let answer = world.patch(&location).body(noise(1, 21 * MIB)).send().await;
    // Over HTTP/1.1 a client that is still sending may see the connection break instead.
    if let Ok(answer) = answer {
        assert_eq!((answer.status().as_u16(), header(&answer, "content-type")), (413, "text/html".to_owned()));
    }
    let answer = world.patch(&location).header("content-range", "bytes 0-1/*").body("ab").send().await.unwrap();
    assert_eq!(answer.status(), 400);
    assert!(answer.text().await.unwrap().contains("Content-Range header format is invalid"));
    let answer = world.patch(&location).header("content-range", "0-1").body("ab").send().await.unwrap();
    let location = header(&answer, "location");
    assert_eq!(world.patch(&location).body("cd").send().await.unwrap().status(), 400);
    let answer = world.patch(&location).header("content-range", "2-3").body("cd").send().await.unwrap();
    let location = header(&answer, "location");
    assert_eq!(world.finish(&location, &sha256(b"abcd"), vec![]).await.status(), 201);
}

#[tokio::test]
async fn docker_hub_counts_reads_of_manifests() {
    let world = World::with(Registry::builder(Personality::DockerHub).pull_limit(1)).await;
    Image::small(1).push_to(world.registry.store(), "library/app", "v1");
    let path = "/v2/library/app/manifests/v1";
    let answer = world.head(path).send().await.unwrap();
    assert_eq!(header(&answer, "ratelimit-remaining"), "1;w=21600");
    let answer = world.get(path).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "ratelimit-remaining")), (200, "0;w=21600".to_owned()));
    let (status, code, message) = error(world.get(path).send().await.unwrap()).await;
    assert_eq!((status, code.as_str()), (429, "TOOMANYREQUESTS"));
    assert!(message.contains("pull rate limit"));
    assert_eq!(world.head(path).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn mounts_differ() {
    for (personality, query, expected) in [
        (Personality::Quay, "", 400),
        (Personality::Quay, "&from=acme/a", 201),
        (Personality::Harbor, "&from=none/a", 401),
        (Personality::Harbor, "&from=acme/none", 202),
        (Personality::Harbor, "&from=acme/a", 201),
        (Personality::Ghcr, "", 202),
        (Personality::Ghcr, "&from=acme/a", 201),
        (Personality::Ghcr, "&from=other/a", 202),
        (Personality::EcrPublic, "&from=acme/a", 202),
    ] {
        let world = World::with(Registry::builder(personality).open()).await;
        let digest = world.upload_seed("acme/a");
        world.upload_seed("other/a");
        world.registry.store().create_repository("acme/b");
        let answer = world.post(&format!("/v2/acme/b/blobs/uploads/?mount={digest}{query}")).send().await.unwrap();
        assert_eq!(answer.status(), expected, "{} {query}", personality.name());
    }
}

impl World {
    fn upload_seed(&self, repository: &str) -> String {
        self.registry.store().put_blob(repository, "content")
    }
}

#[tokio::test]
async fn what_a_deleted_tag_takes_along_differs() {
    for (personality, name, status, left) in [
        (Personality::Plain, "acme/app", 202, &["v2"][..]),
        (Personality::Quay, "acme/app", 202, &["v2"]),
        (Personality::Gar, "project/repo/app", 202, &["v2"]),
        // ACR documentation, "Delete container images".
        (Personality::Acr, "acme/app", 202, &[]),
        (Personality::Harbor, "acme/app", 405, &["v1", "v2"]),
        (Personality::DockerHub, "acme/app", 405, &["v1", "v2"]),
        (Personality::Ghcr, "acme/app", 405, &["v1", "v2"]),
    ] {
        let world = World::new(personality).await;
        for tag in ["v1", "v2"] {
            Image::small(1).push_to(world.registry.store(), name, tag);
        }
        let answer = world.delete(&format!("/v2/{name}/manifests/v1")).send().await.unwrap();
        assert_eq!(answer.status(), status, "{personality:?}");
        assert_eq!(world.registry.store().tags(name), left, "{personality:?}");
    }
}
