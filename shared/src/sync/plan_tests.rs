use bytes::Bytes;

use super::*;
use crate::oci::Manifest;

fn image(layers: &[(&str, usize, bool)]) -> ManifestTree {
    let layer = |(seed, size, foreign): &(&str, usize, bool)| {
        let media_type = if *foreign { "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" } else { "x" };
        let urls = if *foreign { r#","urls":["https://example.test"]"# } else { "" };
        format!(r#"{{"mediaType":"{media_type}","digest":"{}","size":{size}{urls}}}"#, Digest::of(seed.as_bytes()))
    };
    let layers: Vec<_> = layers.iter().map(layer).collect();
    let config = Digest::of(b"config");
    let body = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"c","digest":"{config}","size":2}},"layers":[{}]}}"#,
        layers.join(",")
    );
    let bytes = Bytes::from(body);
    let manifest = Manifest::parse(bytes.clone(), Digest::of(&bytes), None).unwrap();
    ManifestTree { manifests: vec![manifest], present: Vec::new(), only_tag: false }
}

#[test]
fn every_blob_has_one_action_and_the_largest_is_first() {
    let tree = image(&[("small", 10, false), ("held", 20, false), ("large", 300, false), ("foreign", 999, true)]);
    let held = HashSet::from([Digest::of(b"held")]);
    let plan = Plan::of(&tree, &held.into(), None);
    let actions: Vec<_> = plan.blobs.iter().map(|(blob, action)| (blob.size, action.clone())).collect();
    assert_eq!(
        actions,
        [(999, Action::Foreign), (300, Action::Copy), (20, Action::Present), (10, Action::Copy), (2, Action::Copy)]
    );
    assert_eq!(plan.to_be_good(), [Digest::of(b"large"), Digest::of(b"small"), Digest::of(b"config")]);
}

#[test]
fn blobs_of_the_same_registry_are_mounted_unless_they_are_there() {
    let tree = image(&[("a", 10, false), ("held", 20, false)]);
    let plan = Plan::of(&tree, &HashSet::from([Digest::of(b"held")]).into(), Some("team/base"));
    let mount = Action::Mount("team/base".to_owned());
    let actions: Vec<_> = plan.blobs.iter().map(|(_, action)| action.clone()).collect();
    assert_eq!(actions, [Action::Present, mount.clone(), mount]);
}
