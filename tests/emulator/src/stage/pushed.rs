//! The image that the demo replicates. It is the same in every run, since `events/ecr-push.json` names its digest.

use serde_json::json;

use crate::{
    image::{Image, Index, Layer, layer},
    store::Store,
};

/// What the image is built for.
const PLATFORMS: [&str; 3] = ["linux/amd64", "linux/arm64/v8", "linux/arm/v7"];

/// The media type of an SPDX document: both of its layer and of the artifact that holds it.
const SPDX: &str = "application/spdx+json";

/// A multi-platform image, and a software bill of materials attached to it.
pub struct PushedImage {
    /// The image.
    pub index: Index,
    /// What is attached to it.
    pub sbom: Image,
}

impl PushedImage {
    /// Builds it: for each platform a base and a program of its own, and assets that all of them share.
    #[must_use]
    pub fn build() -> Self {
        let assets = layer(1, 2 << 20);
        let images = (10..).step_by(10).zip(PLATFORMS).map(|(seed, platform)| {
            let layers = [layer(seed, 3 << 20), assets.clone(), layer(seed + 1, 1 << 20)];
            Image::builder()
                .platform(platform)
                .layers(layers)
                .label("org.opencontainers.image.version", "v1.4.0")
                .build()
        });
        let images: Vec<Image> = images.collect();
        let index = images.iter().fold(Index::builder(), |builder, image| builder.child(image)).build();
        let sbom = Image::builder().artifact(SPDX).layer(spdx(&index)).subject(&index.descriptor()).build();
        Self { index, sbom }
    }

    /// Puts image and referrer into a repository.
    pub fn push_to(&self, store: &Store, repository: &str, tag: &str) {
        self.index.push_to(store, repository, tag);
        self.sbom.push_to(store, repository, &self.sbom.digest);
    }
}

/// A small SPDX document about the image.
fn spdx(index: &Index) -> Layer {
    let (_, hex) = index.digest.split_once(':').unwrap_or_default();
    let document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": "team/app:v1.4.0",
        "documentNamespace": format!("https://example.com/sbom/{hex}"),
        "creationInfo": { "created": "2026-11-22T09:30:00Z", "creators": ["Tool: transship-demo"] },
        "packages": [{
            "SPDXID": "SPDXRef-image",
            "name": "team/app",
            "versionInfo": "v1.4.0",
            "downloadLocation": "NOASSERTION",
            "checksums": [{ "algorithm": "SHA256", "checksumValue": hex }],
        }],
    });
    Layer::from_bytes(SPDX, document.to_string())
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use serde_json::Value;

    use super::*;

    fn event(name: &str) -> Value {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events").join(name);
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn the_events_name_the_image_that_the_demo_pushes() {
        let pushed = PushedImage::build();
        for name in ["ecr-push.json", "ecr-replication.json"] {
            let detail = &event(name)["detail"];
            assert_eq!(
                detail["image-digest"],
                pushed.index.digest.as_str(),
                "the digest of events/{name} is not that of the demo's image"
            );
            assert_eq!(detail["image-tag"], "v1.4.0", "{name}");
        }
        let amd64 = &pushed.index.children[0];
        let crate::image::Child::Image(amd64) = amd64 else { panic!("a platform is an image") };
        for name in ["ecr-push-image.json", "ecr-scan.json"] {
            assert_eq!(
                event(name)["detail"]["image-digest"],
                amd64.digest.as_str(),
                "events/{name}: linux/amd64 of the demo's image"
            );
        }
    }

    #[test]
    fn the_image_is_whole_and_has_a_referrer() {
        let (pushed, store) = (PushedImage::build(), Store::default());
        pushed.push_to(&store, "team/app", "v1.4.0");
        store.is_whole("team/app", "v1.4.0").unwrap();
        assert_eq!(store.referrers("team/app", &pushed.index.digest), [pushed.sbom.digest]);
    }
}
