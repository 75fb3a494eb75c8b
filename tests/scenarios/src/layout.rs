//! OCI layout folders: made with a multi-platform image in them, or read back from what skopeo wrote.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// A layout folder. Removed when dropped.
pub struct Layout {
    folder: TempDir,
}

/// What to put into a generated image.
#[derive(Debug, Clone)]
pub struct Shape {
    /// `os/architecture[/variant]` of each child of the index.
    pub platforms: Vec<String>,
    /// How many layers each child has of its own, beside one that all share.
    pub layers: usize,
    /// How many bytes a layer has, roughly. They do not compress.
    pub layer_bytes: usize,
    /// Other seeds make other bytes, and so other digests.
    pub seed: u64,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            platforms: vec!["linux/amd64".into(), "linux/arm64/v8".into()],
            layers: 2,
            layer_bytes: 64 << 10,
            seed: std::process::id().into(),
        }
    }
}

/// The media type of an OCI index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const REF_NAME: &str = "org.opencontainers.image.ref.name";

impl Layout {
    /// An empty folder for skopeo to write into.
    pub fn empty() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder can be made") }
    }

    /// Writes an index with an image for each platform, under the tag `image`.
    pub fn generate(shape: &Shape) -> Self {
        let layout = Self::empty();
        fs::create_dir_all(layout.path().join("blobs/sha256")).expect("the folder can be written");
        layout.write("oci-layout", json!({ "imageLayoutVersion": "1.0.0" }).to_string().as_bytes());
        let shared = layer(shape.seed, shape.layer_bytes, "shared");
        let mut children = Vec::new();
        for (at, platform) in shape.platforms.iter().enumerate() {
            let mut layers = vec![shared.clone()];
            for number in 0..shape.layers {
                let seed = shape.seed.wrapping_mul(31).wrapping_add(u64::try_from(at * 1000 + number + 1).unwrap_or(0));
                layers.push(layer(seed, shape.layer_bytes, &format!("layer-{number}")));
            }
            children.push(layout.add_image(platform, &layers));
        }
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": children });
        let mut top = layout.add(INDEX, index.to_string().as_bytes());
        top["annotations"] = json!({ REF_NAME: "image" });
        layout.write("index.json", json!({ "schemaVersion": 2, "manifests": [top] }).to_string().as_bytes());
        layout
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The digest that the only entry of `index.json` names: the digest of the image.
    pub fn digest(&self) -> String {
        let index: Value = serde_json::from_slice(&self.read("index.json")).expect("index.json is JSON");
        let entries = index["manifests"].as_array().expect("index.json lists manifests");
        assert_eq!(entries.len(), 1, "the layout holds one image");
        entries[0]["digest"].as_str().expect("a descriptor has a digest").to_owned()
    }

    /// The exact bytes of a blob or manifest.
    pub fn blob(&self, digest: &str) -> Vec<u8> {
        self.read(&format!("blobs/{}", digest.replace(':', "/")))
    }

    /// Every blob with its length. Each is hashed: a file that is not what its name says panics.
    pub fn blobs(&self) -> BTreeMap<String, u64> {
        let folder = self.path().join("blobs/sha256");
        let entries = fs::read_dir(&folder).expect("the layout has blobs");
        let one = |entry: std::io::Result<fs::DirEntry>| {
            let path: PathBuf = entry.expect("the folder can be read").path();
            let bytes = fs::read(&path).expect("a blob can be read");
            let named = format!("sha256:{}", path.file_name().unwrap_or_default().to_string_lossy());
            assert_eq!(named, sha256(&bytes), "{} holds other bytes than its name says", path.display());
            (named, bytes.len() as u64)
        };
        entries.map(one).collect()
    }

    fn add_image(&self, platform: &str, layers: &[Vec<u8>]) -> Value {
        let mut parts = platform.split('/');
        let mut described = json!({ "os": parts.next(), "architecture": parts.next() });
        if let Some(variant) = parts.next() {
            described["variant"] = variant.into();
        }
        let mut config = described.clone();
        let diff_ids: Vec<String> = layers.iter().map(|tar| sha256(tar)).collect();
        config["config"] = json!({ "Env": [format!("PLATFORM={platform}")] });
        config["rootfs"] = json!({ "type": "layers", "diff_ids": diff_ids });
        let config = self.add(CONFIG, config.to_string().as_bytes());
        let layers: Vec<Value> = layers.iter().map(|tar| self.add(LAYER, &gzip(tar))).collect();
        let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
        let mut descriptor = self.add(MANIFEST, manifest.to_string().as_bytes());
        descriptor["platform"] = described;
        descriptor
    }

    fn add(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = sha256(bytes);
        self.write(&format!("blobs/{}", digest.replace(':', "/")), bytes);
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        fs::write(self.path().join(path), bytes).expect("the folder can be written");
    }

    fn read(&self, path: &str) -> Vec<u8> {
        let path = self.path().join(path);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

/// The digest of these bytes.
pub fn sha256(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// A tar archive with one file of pseudo-random bytes.
fn layer(seed: u64, bytes: usize, name: &str) -> Vec<u8> {
    let mut content = vec![0_u8; bytes];
    // Marsaglia's xorshift: enough to defeat compression.
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for chunk in content.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
    }
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes as u64);
    header.set_mode(0o644);
    header.set_cksum();
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, name, content.as_slice()).expect("memory can be written");
    archive.into_inner().expect("memory can be written")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory can be written");
    encoder.finish().expect("memory can be written")
}
