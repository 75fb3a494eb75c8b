//! `skopeo`: puts images into registries and reads them back, without a line of the code under test.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use tokio::process::Command;

use crate::{Layout, layout::sha256};

/// A registry as skopeo reaches it.
#[derive(Debug, Clone)]
pub struct Remote {
    host: String,
    plain_http: bool,
    credentials: Option<String>,
    certificates: Option<PathBuf>,
}

impl Remote {
    /// A registry by its host, with or without a port, over TLS that the system trusts.
    #[must_use]
    pub fn new(host: &str) -> Self {
        Self { host: host.to_owned(), plain_http: false, credentials: None, certificates: None }
    }

    /// Speaks plain HTTP.
    #[must_use]
    pub fn plain_http(self) -> Self {
        Self { plain_http: true, ..self }
    }

    /// Logs in.
    #[must_use]
    pub fn credentials(self, username: &str, password: &str) -> Self {
        Self { credentials: Some(format!("{username}:{password}")), ..self }
    }

    /// Trusts the authority `ca.crt` of this folder.
    #[must_use]
    pub fn trusting(self, folder: &Path) -> Self {
        Self { certificates: Some(folder.to_owned()), ..self }
    }

    /// Pushes the image of a layout with all its platforms, byte for byte. `image` is `REPOSITORY:TAG`.
    pub async fn push(&self, layout: &Layout, image: &str) {
        let source = format!("oci:{}:image", layout.path().display());
        let mut arguments = vec!["copy".to_owned(), "--all".into(), "--preserve-digests".into()];
        arguments.extend(self.flags("dest-"));
        arguments.extend([source, self.reference(image)]);
        skopeo(&arguments).await;
    }

    /// Likewise, converted to Docker's schema 2 and manifest list on the way.
    pub async fn push_docker(&self, layout: &Layout, image: &str) {
        let source = format!("oci:{}:image", layout.path().display());
        let mut arguments = vec!["copy".to_owned(), "--all".into(), "--format=v2s2".into()];
        arguments.extend(self.flags("dest-"));
        arguments.extend([source, self.reference(image)]);
        skopeo(&arguments).await;
    }

    /// Every manifest and blob of an image with all its platforms, as files by name, each as the digest of its bytes.
    /// Unlike a layout this holds Docker's manifests as they are.
    pub async fn files(&self, image: &str) -> BTreeMap<String, String> {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut arguments = vec!["copy".to_owned(), "--all".into(), "--preserve-digests".into()];
        arguments.extend(self.flags("src-"));
        arguments.extend([self.reference(image), format!("dir:{}", folder.path().display())]);
        skopeo(&arguments).await;
        let entries = std::fs::read_dir(folder.path()).expect("skopeo made the folder");
        let one = |entry: std::io::Result<std::fs::DirEntry>| {
            let path = entry.expect("the folder can be read").path();
            let bytes = std::fs::read(&path).expect("a file can be read");
            (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), sha256(&bytes))
        };
        entries.map(one).collect()
    }

    /// Copies an image with all its platforms into a new layout, byte for byte. `image` is `REPOSITORY:TAG` or
    /// `REPOSITORY@DIGEST`.
    pub async fn pull(&self, image: &str) -> Layout {
        let layout = Layout::empty();
        let mut arguments = vec!["copy".to_owned(), "--all".into(), "--preserve-digests".into()];
        arguments.extend(self.flags("src-"));
        arguments.extend([self.reference(image), format!("oci:{}:image", layout.path().display())]);
        skopeo(&arguments).await;
        layout
    }

    /// The exact bytes of a manifest or index.
    pub async fn manifest(&self, image: &str) -> Vec<u8> {
        self.try_manifest(image).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The exact bytes of a manifest or index, or what skopeo said.
    pub async fn try_manifest(&self, image: &str) -> Result<Vec<u8>, String> {
        let mut arguments = vec!["inspect".to_owned(), "--raw".into()];
        arguments.extend(self.flags(""));
        arguments.push(self.reference(image));
        try_skopeo(&arguments).await
    }

    /// The digest of what a tag names.
    pub async fn digest(&self, image: &str) -> String {
        sha256(&self.manifest(image).await)
    }

    /// Panics unless the image is the layout's: the same digest, and every blob of it.
    pub async fn assert_holds(&self, layout: &Layout, image: &str) {
        let copied = self.pull(image).await;
        assert_eq!(copied.digest(), layout.digest(), "{image} has another digest");
        assert_eq!(copied.blobs(), layout.blobs(), "{image} has other blobs");
    }

    fn reference(&self, image: &str) -> String {
        format!("docker://{}/{image}", self.host)
    }

    /// `prefix` is `src-` or `dest-` for `copy`, empty for `inspect`.
    fn flags(&self, prefix: &str) -> Vec<String> {
        let mut flags = Vec::new();
        if self.plain_http {
            flags.push(format!("--{prefix}tls-verify=false"));
        }
        match &self.credentials {
            Some(credentials) => flags.push(format!("--{prefix}creds={credentials}")),
            None => flags.push(format!("--{prefix}no-creds")),
        }
        if let Some(folder) = &self.certificates {
            flags.push(format!("--{prefix}cert-dir={}", folder.display()));
        }
        flags
    }
}

/// Removes root's cache of where blobs were seen, which turns a second copy into a mount. For measurements.
pub fn forget_blobs() {
    let _ = std::fs::remove_dir_all("/var/lib/containers/cache");
}

async fn skopeo(arguments: &[String]) -> Vec<u8> {
    try_skopeo(arguments).await.unwrap_or_else(|error| panic!("{error}"))
}

async fn try_skopeo(arguments: &[String]) -> Result<Vec<u8>, String> {
    let output = Command::new("skopeo")
        .args(["--insecure-policy", "--command-timeout=120s"])
        .args(arguments)
        .kill_on_drop(true)
        .output()
        .await
        .expect("skopeo is installed: run scripts/install-test-tools");
    if output.status.success() {
        return Ok(output.stdout);
    }
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(format!("skopeo {} failed:\n{stdout}{stderr}", arguments.join(" ")))
}
