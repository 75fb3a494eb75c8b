//! Lists of referrers, read and merged.

use super::*;

fn digest() -> Digest {
    Digest::of(b"subject")
}

#[test]
fn tags_are_made_of_the_subject_and_read_back() {
    let subject = digest();
    let hex = subject.as_str().strip_prefix("sha256:").unwrap();
    assert_eq!(referrers_tag(&subject), format!("sha256-{hex}"));
    assert_eq!(cosign_tags(&subject)[0], format!("sha256-{hex}.sig"));
    assert_eq!(AttachedTag::of(&referrers_tag(&subject)), Some(AttachedTag::Index(subject.clone())));
    for tag in cosign_tags(&subject) {
        assert_eq!(AttachedTag::of(&tag), Some(AttachedTag::Cosign(subject.clone())));
    }
    for tag in [
        "v1",
        &format!("sha256-{hex}.src"),
        "sha256-abc",
        &format!("sha256-{hex}."),
        &format!("md5-{hex}.sig"),
        "sha256-",
    ] {
        assert_eq!(AttachedTag::of(tag), None, "{tag}");
    }
    let long: Digest = format!("sha512:{}", "a".repeat(128)).parse().unwrap();
    assert_eq!(referrers_tag(&long), format!("sha512-{}", "a".repeat(64)));
}

#[test]
fn a_list_is_read_for_its_digests_alone() {
    let subject = digest();
    let list = json!({"schemaVersion": 2, "manifests": [
        {"mediaType": OCI_INDEX, "digest": subject.as_str(), "size": 9_999_999_999_u64, "artifactType": "a/b"},
        {"mediaType": "x", "digest": "md5:abc", "size": 1},
        {"digest": subject.as_str()},
        {"digest": subject.as_str(), "mediaType": null, "size": -1},
        {"digest": 5},
        "no descriptor",
    ]});
    let ReferrersList { referrers: read, unreadable } = read_referrers(list.to_string().as_bytes()).unwrap();
    assert_eq!((read.len(), unreadable), (3, 3));
    assert_eq!((read[0].is_index, read[0].artifact_type.as_deref()), (true, Some("a/b")));
    assert_eq!((read[1].is_index, read[1].artifact_type.as_deref()), (false, None));
    assert_eq!(read_referrers(b"{\"manifests\":null}").unwrap().referrers, []);
    for other in ["{}", "[]", "null", "\"text\"", "{\"manifests\":{}}"] {
        assert!(read_referrers(other.as_bytes()).unwrap_err().is_data(), "{other}");
    }
    assert!(!read_referrers(b"<html>").unwrap_err().is_data());
}

#[test]
fn a_merged_list_keeps_what_is_there_and_adds_what_lacks() {
    let bytes = json!({
        "schemaVersion": 2,
        "artifactType": "application/spdx+json",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest().as_str(), "size": 2},
        "layers": [],
        "annotations": {"made": "today"},
    });
    let bytes = bytes.to_string();
    let manifest = Manifest::parse(bytes.clone().into(), Digest::of(bytes.as_bytes()), None).unwrap();
    let first = merged_referrers(None, &Dropped::default(), &[&manifest, &manifest]).unwrap();
    let index: Value = serde_json::from_slice(&first).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 1);
    let entry = &index["manifests"][0];
    assert_eq!(entry["digest"], manifest.digest.as_str());
    assert_eq!(entry["size"], bytes.len());
    assert_eq!(entry["artifactType"], "application/spdx+json");
    assert_eq!(entry["annotations"]["made"], "today");
    let foreign = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "x": 1, "manifests": [{"digest": "d", "y": 2}]});
    let both: Value = serde_json::from_slice(&merged(&foreign.to_string(), &manifest)).unwrap();
    assert_eq!((&both["x"], &both["manifests"][0]["y"]), (&json!(1), &json!(2)));
    assert_eq!(both["manifests"].as_array().unwrap().len(), 2);
    let dropped = Dropped { gone: vec![manifest.digest.clone()], unsound: false };
    let gone = merged_referrers(Some(&first), &dropped, &[]).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&gone).unwrap()["manifests"], json!([]));
}

fn merged(list: &str, manifest: &Manifest) -> Vec<u8> {
    merged_referrers(Some(list.as_bytes()), &Dropped::default(), &[manifest]).unwrap()
}

#[test]
fn what_others_wrote_stays_byte_for_byte() {
    let bytes = json!({"schemaVersion": 2, "config": {"mediaType": "c/d", "digest": digest().as_str(), "size": 2}, "layers": []});
    let bytes = bytes.to_string();
    let manifest = Manifest::parse(bytes.clone().into(), Digest::of(bytes.as_bytes()), None).unwrap();
    let entry = descriptor(&manifest).to_string();
    let odd = r#"{ "size": -1, "digest": "md5:abc", "z": 1e3 }"#;
    for (list, expected) in [
        (
            format!(r#"{{ "x": 1.50, "manifests": [ {odd} ], "mediaType":"{OCI_INDEX}" }}"#),
            format!(r#"{{ "x": 1.50, "manifests": [ {odd},{entry} ], "mediaType":"{OCI_INDEX}" }}"#),
        ),
        (r#"{"manifests": [ ]}"#.to_owned(), format!(r#"{{"manifests": [{entry} ]}}"#)),
        (r#"{"manifests":null}"#.to_owned(), format!(r#"{{"manifests":[{entry}]}}"#)),
        (format!(r#"{{"manifests":[{entry}]}}"#), format!(r#"{{"manifests":[{entry}]}}"#)),
    ] {
        let written = merged(&list, &manifest);
        assert_eq!(String::from_utf8(written.clone()).unwrap(), expected);
        let index = referrers_index(written);
        assert_eq!((index.media_type.as_str(), index.is_index), (OCI_INDEX, true));
    }
    for other in [&bytes, "{}", "[]", "<html>"] {
        assert!(merged_referrers(Some(other.as_bytes()), &Dropped::default(), &[&manifest]).is_err(), "{other}");
    }
}

#[test]
fn what_is_no_descriptor_is_dropped_only_where_it_must_be() {
    let sound = json!({"mediaType": "a/b", "digest": digest().as_str(), "size": 1});
    for unsound in [
        json!({"mediaType": "a/b", "digest": digest().as_str(), "size": -1}),
        json!({"mediaType": "a/b", "digest": digest().as_str()}),
        json!({"digest": digest().as_str(), "size": 1}),
        json!({"mediaType": "a/b", "digest": "md5:abc", "size": 1}),
        json!("text"),
    ] {
        let list = json!({"manifests": [unsound, sound]}).to_string();
        assert!(has_unsound(list.as_bytes()), "{list}");
        let dropped = Dropped { gone: Vec::new(), unsound: true };
        let left: Value =
            serde_json::from_slice(&merged_referrers(Some(list.as_bytes()), &dropped, &[]).unwrap()).unwrap();
        assert_eq!(left, json!({"manifests": [sound]}), "{list}");
    }
    assert!(!has_unsound(json!({"manifests": [sound]}).to_string().as_bytes()));
}
