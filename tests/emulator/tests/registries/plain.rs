//! The plain personality: the specification to the letter.

use crate::common::{World, error, header, noise};
use emulator::{
    Image, Index, Kind, Personality, Registry,
    digest::{sha256, sha512},
    image,
    image::layer,
};
use serde_json::{Value, json};

#[tokio::test]
async fn a_location_is_good_for_one_request() {
    let world = World::new(Personality::Plain).await;
    let first = world.begin("a/b").await;
    let answer = world.patch(&first).body("hello ").send().await.unwrap();
    assert_eq!(answer.status(), 202);
    assert_eq!(header(&answer, "range"), "0-5");
    let second = header(&answer, "location");
    assert_ne!(first, second);

    assert_eq!(world.patch(&first).body("again").send().await.unwrap().status(), 416);
    assert_eq!(world.finish(&first, &sha256(b"hello "), vec![]).await.status(), 416);
    let answer = world.finish(&second, &sha256(b"hello world"), b"world".to_vec()).await;
    assert_eq!(answer.status(), 201);
    assert_eq!(header(&answer, "location"), format!("/v2/a/b/blobs/{}", sha256(b"hello world")));
    assert_eq!(world.finish(&second, &sha256(b"x"), b"x".to_vec()).await.status(), 404);
    assert_eq!(world.registry.open_uploads(), 0);
}

#[tokio::test]
async fn chunks_come_in_order_and_of_the_length_they_say() {
    let world = World::new(Personality::Plain).await;
    let location = world.begin("a").await;
    let send = |location: String, range: &'static str, body: &'static str| {
        world.patch(&location).header("content-range", range).body(body).send()
    };
    assert_eq!(send(location.clone(), "bytes 0-3/4", "abcd").await.unwrap().status(), 416);
    assert_eq!(send(location.clone(), "4-7", "abcd").await.unwrap().status(), 416);
    assert_eq!(send(location.clone(), "0-9", "abcd").await.unwrap().status(), 400);
    let answer = send(location, "0-3", "abcd").await.unwrap();
    let location = header(&answer, "location");
    assert_eq!(send(location.clone(), "0-3", "abcd").await.unwrap().status(), 416);
    let answer = world.get(&location).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "range")), (204, "0-3".to_owned()));
    let location = header(&answer, "location");
    let answer = world
        .put(&format!("{location}&digest={}", sha256(b"abcdef")))
        .header("content-range", "4-5")
        .body("ef")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 201);
}

#[tokio::test]
async fn a_wrong_digest_is_refused_and_sha512_is_known() {
    let world = World::new(Personality::Plain).await;
    let location = world.begin("a").await;
    let (status, code, _) = error(world.finish(&location, &sha256(b"other"), b"this".to_vec()).await).await;
    assert_eq!((status, code.as_str()), (400, "DIGEST_INVALID"));
    let location = world.begin("a").await;
    assert_eq!(world.finish(&location, &sha512(b"this"), b"this".to_vec()).await.status(), 201);
    assert!(world.registry.store().has_blob("a", &sha512(b"this")));
}

#[tokio::test]
async fn a_cancelled_upload_is_gone() {
    let world = World::new(Personality::Plain).await;
    let location = world.begin("a").await;
    assert_eq!(world.delete(&location).send().await.unwrap().status(), 204);
    assert_eq!(world.patch(&location).body("x").send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn parts_of_a_blob_are_served() {
    let world = World::new(Personality::Plain).await;
    let digest = world.upload("a", b"0123456789").await;
    let path = format!("/v2/a/blobs/{digest}");
    let answer = world.get(&path).header("range", "bytes=2-4").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "content-range")), (206, "bytes 2-4/10".to_owned()));
    assert_eq!(answer.text().await.unwrap(), "234");
    assert_eq!(world.get(&path).header("range", "bytes=10-").send().await.unwrap().status(), 416);
    let answer = world.head(&path).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "content-length")), (200, "10".to_owned()));
}

#[tokio::test]
async fn a_generated_blob_is_served_with_its_true_digest() {
    let world = World::new(Personality::Plain).await;
    let digest = world.registry.store().put_generated_blob("a", 3, 5_000_001);
    let bytes = world.get(&format!("/v2/a/blobs/{digest}")).send().await.unwrap().bytes().await.unwrap();
    assert_eq!((bytes.len(), sha256(&bytes)), (5_000_001, digest));
}

#[tokio::test]
async fn discarded_blobs_leave_digest_and_size() {
    let world = World::with(Registry::builder(Personality::Plain).discard_blobs()).await;
    let bytes = noise(1, 300_000);
    let digest = world.upload("a", &bytes).await;
    assert_eq!(world.registry.store().blob_size("a", &digest), Some(300_000));
    assert_eq!(world.registry.store().blob_bytes("a", &digest), None);
    let location = world.begin("a").await;
    assert_eq!(world.finish(&location, &sha256(b"no"), bytes).await.status(), 400);
}

#[tokio::test]
async fn a_manifest_needs_its_blobs_and_children_but_not_its_subject() {
    let world = World::new(Personality::Plain).await;
    let subject = Image::small(9).descriptor();
    let foreign = image::foreign_layer(7, 10, "https://example.test/layer");
    let image = Image::builder().layer(layer(1, 100)).layer(foreign).subject(&subject).build();
    let index = Index::of(&[&image]);
    let (status, code, _) = error(world.put_manifest("a", "v1", &image.media_type, &image.manifest).await).await;
    assert_eq!((status, code.as_str()), (404, "MANIFEST_BLOB_UNKNOWN"));
    let (status, code, _) = error(world.put_manifest("a", "v1", &index.media_type, &index.manifest).await).await;
    assert_eq!((status, code.as_str()), (404, "MANIFEST_BLOB_UNKNOWN"));

    let answer = world.push(&image, "a", &image.digest).await;
    assert_eq!((answer.status().as_u16(), header(&answer, "oci-subject")), (201, subject.digest));
    assert_eq!(header(&answer, "location"), format!("/v2/a/manifests/{}", image.digest));
    assert_eq!(world.put_manifest("a", "v1", &index.media_type, &index.manifest).await.status(), 201);
    assert_eq!(world.registry.store().is_whole("a", "v1"), Ok(()));
    let stored = world.registry.store().manifest("a", "v1").unwrap();
    assert_eq!((stored.digest, stored.bytes), (index.digest, index.manifest));
}

/// A put with a subject, as the registry answers it, and then the list of the subject: its type and what it names.
async fn put_and_listed(builder: emulator::Builder) -> (String, String, usize) {
    let world = World::with(builder).await;
    let subject = Image::small(9).descriptor();
    let image = Image::builder().layer(layer(1, 100)).subject(&subject).build();
    let answer = world.push(&image, "a", &image.digest).await;
    let list = world.get(&format!("/v2/a/referrers/{}", subject.digest)).send().await.unwrap();
    let content_type = header(&list, "content-type").to_owned();
    let list: Value = serde_json::from_str(&list.text().await.unwrap()).unwrap();
    (header(&answer, "oci-subject").to_owned(), content_type, list["manifests"].as_array().unwrap().len())
}

#[tokio::test]
async fn who_lists_what_refers_to_something_says_so_unless_it_is_told_otherwise() {
    let plain = || Registry::builder(Personality::Plain);
    let (index, subject) = (image::OCI_INDEX, Image::small(9).descriptor().digest);
    for (builder, expected) in [
        (plain(), (subject.as_str(), index, 1)),
        (plain().name_subjects(false), ("", index, 1)),
        (plain().lists_nothing(), ("", index, 0)),
        (plain().referrers_type("text/plain"), (subject.as_str(), "text/plain", 1)),
    ] {
        let (named, content_type, listed) = put_and_listed(builder).await;
        assert_eq!((named.as_str(), content_type.as_str(), listed), expected);
    }
}

#[tokio::test]
async fn a_bad_manifest_is_refused() {
    let world = World::new(Personality::Plain).await;
    let image = Image::small(1);
    image.push_blobs_to(world.registry.store(), "a");
    let put = |reference: String, media_type: &'static str, body: Vec<u8>| {
        let world = &world;
        async move { error(world.put_manifest("a", &reference, media_type, &body).await).await }
    };
    let (status, code, _) = put("v1".into(), image::OCI_MANIFEST, b"{".to_vec()).await;
    assert_eq!((status, code.as_str()), (400, "MANIFEST_INVALID"));
    let (status, code, _) = put("v1".into(), image::DOCKER_MANIFEST, image.manifest.to_vec()).await;
    assert_eq!((status, code.as_str()), (400, "MANIFEST_INVALID"));
    let (status, code, _) = put(sha256(b"x"), image::OCI_MANIFEST, image.manifest.to_vec()).await;
    assert_eq!((status, code.as_str()), (400, "DIGEST_INVALID"));
    let (status, _, _) = put("-bad".into(), image::OCI_MANIFEST, image.manifest.to_vec()).await;
    assert_eq!(status, 400);
    let (status, _, _) = put("v1".into(), image::OCI_MANIFEST, vec![b' '; 4 * 1024 * 1024 + 1]).await;
    assert_eq!(status, 413);
    let (status, code, _) = error(world.get("/v2/UPPER/manifests/v1").send().await.unwrap()).await;
    assert_eq!((status, code.as_str()), (400, "NAME_INVALID"));
}

#[tokio::test]
async fn a_type_that_is_not_accepted_is_not_given() {
    let world = World::new(Personality::Plain).await;
    let image = Image::small(1);
    image.push_to(world.registry.store(), "a", "v1");
    let get = |accept: &'static str| world.get("/v2/a/manifests/v1").header("accept", accept).send();
    assert_eq!(get(image::DOCKER_MANIFEST).await.unwrap().status(), 404);
    let answer = get("application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json;q=0.5").await;
    let answer = answer.unwrap();
    assert_eq!(header(&answer, "docker-content-digest"), image.digest);
    assert_eq!(answer.bytes().await.unwrap(), image.manifest);
}

#[tokio::test]
async fn tags_come_in_pages() {
    let world = World::new(Personality::Plain).await;
    for tag in ["v1", "v3", "v2"] {
        Image::small(1).push_to(world.registry.store(), "a", tag);
    }
    let answer = world.get("/v2/a/tags/list?n=2").send().await.unwrap();
    let link = header(&answer, "link");
    assert_eq!(link, "</v2/a/tags/list?n=2&last=v2>; rel=\"next\"");
    let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(body, json!({"name": "a", "tags": ["v1", "v2"]}));
    let body = world.get("/v2/a/tags/list?n=2&last=v2").send().await.unwrap().text().await.unwrap();
    assert_eq!(body, r#"{"name":"a","tags":["v3"]}"#);
    assert_eq!(world.get("/v2/none/tags/list").send().await.unwrap().status(), 404);
    let body = world.get("/v2/_catalog").send().await.unwrap().text().await.unwrap();
    assert_eq!(body, r#"{"repositories":["a"]}"#);
}

#[tokio::test]
async fn referrers_are_filtered_and_paged() {
    let world = World::with(Registry::builder(Personality::Plain).referrers_page(1)).await;
    let subject = Image::small(1);
    for kind in ["application/sbom", "application/sbom2", "application/sbom"] {
        let seed = world.registry.store().manifests("a").len() as u64;
        let artifact = Image::builder().artifact(kind).subject(&subject.descriptor()).layer(layer(seed, 9)).build();
        artifact.push_to(world.registry.store(), "a", &artifact.digest);
    }
    let mut path = format!("/v2/a/referrers/{}?artifactType=application/sbom", subject.digest);
    let mut found = Vec::new();
    loop {
        let answer = world.get(&path).send().await.unwrap();
        assert_eq!(header(&answer, "oci-filters-applied"), "artifactType");
        let link = header(&answer, "link");
        let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        found.extend(body["manifests"].as_array().unwrap().clone());
        match link.strip_prefix('<').and_then(|link| link.split_once('>')) {
            Some((next, _)) => path = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|entry| entry["artifactType"] == "application/sbom"));
    let none = world.get(&format!("/v2/a/referrers/{}", sha256(b"none"))).send().await.unwrap();
    assert_eq!(none.status(), 200);
    let world = World::with(Registry::builder(Personality::Plain).referrers(false)).await;
    assert_eq!(world.get(&format!("/v2/a/referrers/{}", sha256(b"none"))).send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn a_blob_is_mounted_from_where_it_is() {
    let world = World::new(Personality::Plain).await;
    let digest = world.upload("a", b"content").await;
    let mount = |query: String| world.post(&format!("/v2/b/blobs/uploads/?{query}")).send();
    let answer = mount(format!("mount={}&from=a", sha256(b"none"))).await.unwrap();
    assert_eq!(answer.status(), 202);
    let answer = mount(format!("mount={digest}&from=a")).await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "docker-content-digest")), (201, digest.clone()));
    assert!(world.registry.store().has_blob("b", &digest));
    assert_eq!(world.registry.journal().count(Kind::Mount), 2);
    let world = World::with(Registry::builder(Personality::Plain).blob_mounting(false)).await;
    let digest = world.upload("a", b"content").await;
    let answer = world.post(&format!("/v2/b/blobs/uploads/?mount={digest}&from=a")).send().await.unwrap();
    assert_eq!(answer.status(), 202);
}

#[tokio::test]
async fn a_deleted_manifest_takes_its_tags_along() {
    let world = World::new(Personality::Plain).await;
    let image = Image::small(1);
    image.push_to(world.registry.store(), "a", "v1");
    image.push_to(world.registry.store(), "a", "v2");
    assert_eq!(world.delete("/v2/a/manifests/v1").send().await.unwrap().status(), 202);
    assert_eq!(world.registry.store().tags("a"), ["v2"]);
    let path = format!("/v2/a/manifests/{}", image.digest);
    assert_eq!(world.delete(&path).send().await.unwrap().status(), 202);
    assert!(world.registry.store().tags("a").is_empty());
    assert_eq!(world.get(&path).send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn seeded_lies_are_found_by_the_walk() {
    let world = World::new(Personality::Plain).await;
    let store = world.registry.store();
    let image = Image::small(1);
    image.push_to(store, "a", "v1");
    assert_eq!(store.is_whole("a", "v1"), Ok(()));
    let layer = image.layers[0].digest();
    store.put_raw_blob("a", layer, noise(1, usize::try_from(image.layers[0].size()).unwrap()));
    assert!(store.is_whole("a", "v1").unwrap_err().contains("another digest"));
    store.remove_blob("a", layer);
    assert!(store.is_whole("a", "v1").unwrap_err().contains("no blob"));
}
