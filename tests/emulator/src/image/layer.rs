//! Layers: true archives, noise, and content that is never in memory.

use std::{collections::BTreeMap, io::Write};

use bytes::Bytes;
use flate2::{Compression, GzBuilder};

use crate::{
    digest,
    image::{DOCKER_FOREIGN_LAYER, DOCKER_LAYER, Descriptor},
    random,
    store::{Store, generated_digest},
};

/// A layer of an image.
#[derive(Debug, Clone)]
pub struct Layer {
    content: Content,
    digest: String,
    size: u64,
    diff_id: String,
    media_type: Option<String>,
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
enum Content {
    Bytes(Bytes),
    Generated(u64),
    Unhashed(u64),
    Foreign(String),
}

/// A true layer: a gzip'd archive with one file of `size` bytes that do not compress.
#[must_use]
pub fn layer(seed: u64, size: usize) -> Layer {
    let noise = random::bytes(seed, size);
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(noise.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    let appended = archive.append_data(&mut header, format!("data/{seed}.bin"), noise.as_slice());
    appended.expect("an archive in memory takes a file");
    let archive = archive.into_inner().expect("an archive in memory can be ended");
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::fast());
    gzip.write_all(&archive).expect("memory can be written to");
    let bytes = gzip.finish().expect("memory can be written to");
    Layer::of(Bytes::from(bytes), digest::sha256(&archive))
}

/// A layer of `size` bytes of noise under the media type of an archive: quicker, and true to size.
#[must_use]
pub fn raw_layer(seed: u64, size: usize) -> Layer {
    let bytes = Bytes::from(random::bytes(seed, size));
    let diff_id = digest::sha256(&bytes);
    Layer::of(bytes, diff_id)
}

/// A layer of any size that is made when it is read and takes no memory.
#[must_use]
pub fn generated_layer(seed: u64, size: u64) -> Layer {
    let digest = generated_digest(seed, size);
    Layer {
        content: Content::Generated(seed),
        diff_id: digest.clone(),
        digest,
        size,
        media_type: None,
        annotations: BTreeMap::new(),
    }
}

/// A layer like [`generated_layer`], under a digest that is not its bytes': for copies that are not meant to reach the
/// end. To hash a gigabyte for each layer would take longer than the test.
#[must_use]
pub fn unhashed_layer(seed: u64, size: u64) -> Layer {
    let digest = digest::sha256(format!("{size} bytes of {seed} that nobody hashed").as_bytes());
    Layer {
        content: Content::Unhashed(seed),
        diff_id: digest.clone(),
        digest,
        size,
        media_type: None,
        annotations: BTreeMap::new(),
    }
}

/// A layer that registries do not hold, to be had from `url`.
#[must_use]
pub fn foreign_layer(seed: u64, size: usize, url: &str) -> Layer {
    let mut layer = raw_layer(seed, size);
    layer.content = Content::Foreign(url.to_owned());
    layer
}

impl Layer {
    /// A layer of these bytes.
    #[must_use]
    pub fn from_bytes(media_type: &str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let diff_id = digest::sha256(&bytes);
        Self { media_type: Some(media_type.to_owned()), ..Self::of(bytes, diff_id) }
    }

    fn of(bytes: Bytes, diff_id: String) -> Self {
        Self {
            digest: digest::sha256(&bytes),
            size: bytes.len() as u64,
            content: Content::Bytes(bytes),
            diff_id,
            media_type: None,
            annotations: BTreeMap::new(),
        }
    }

    /// Under this media type instead of the image's own.
    #[must_use]
    pub fn media_type(mut self, media_type: &str) -> Self {
        self.media_type = Some(media_type.to_owned());
        self
    }

    /// Annotate the layer's descriptor.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    /// The digest.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The size.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether registries hold no copy.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        matches!(self.content, Content::Foreign(_))
    }

    /// The bytes, where there are any to hold.
    #[must_use]
    pub fn bytes(&self) -> Option<Bytes> {
        match &self.content {
            Content::Bytes(bytes) => Some(bytes.clone()),
            Content::Generated(_) | Content::Unhashed(_) | Content::Foreign(_) => None,
        }
    }

    pub(super) fn diff_id(&self) -> &str {
        &self.diff_id
    }

    pub(super) fn descriptor(&self, media_type: &str) -> Descriptor {
        let (own, urls) = match &self.content {
            Content::Foreign(url) if media_type == DOCKER_LAYER => (DOCKER_FOREIGN_LAYER, vec![url.clone()]),
            Content::Foreign(url) => {
                ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", vec![url.clone()])
            }
            Content::Bytes(_) | Content::Generated(_) | Content::Unhashed(_) => (media_type, Vec::new()),
        };
        Descriptor {
            media_type: self.media_type.clone().unwrap_or_else(|| own.to_owned()),
            digest: self.digest.clone(),
            size: self.size,
            artifact_type: None,
            urls,
            platform: None,
            annotations: self.annotations.clone(),
        }
    }

    /// Puts the layer into a repository; a foreign one is left out.
    pub fn push_to(&self, store: &Store, repository: &str) {
        match &self.content {
            Content::Bytes(bytes) => drop(store.put_blob(repository, bytes.clone())),
            Content::Generated(seed) => drop(store.put_generated_blob(repository, *seed, self.size)),
            Content::Unhashed(seed) => store.put_unhashed_blob(repository, &self.digest, *seed, self.size),
            Content::Foreign(_) => {}
        }
    }
}
