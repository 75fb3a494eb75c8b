//! The tools: where they are, which version, and how each is asked to copy an image.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{cases::Case, options::Options};

/// What Transship is called in the tables.
pub(crate) const TRANSSHIP: &str = "Transship";

/// Copies images.
#[derive(Debug, Clone)]
pub(crate) struct Tool {
    /// Its name, that of its program but for Transship.
    pub(crate) name: &'static str,
    /// Where it is, or why it is not here.
    pub(crate) place: Result<Place, &'static str>,
}

/// A tool that is here.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Its program.
    pub(crate) program: PathBuf,
    /// What it says of itself.
    pub(crate) version: String,
}

/// Another tool: its name, the words that make it tell its version, and what brings it here.
const PEERS: [(&str, &[&str], &str); 5] = [
    ("crane", &["version"], "`scripts/install-bench-tools` builds it with Go"),
    ("regctl", &["version"], "`scripts/install-bench-tools` builds it with Go"),
    ("oras", &["version"], "`scripts/install-bench-tools` builds it with Go"),
    ("skopeo", &["--version"], "`apt-get install skopeo`"),
    ("ocync", &["--version"], "crates.io does not have it (2026-11); one on the PATH is measured"),
];

impl Tool {
    /// Transship, and all others, whether they are here or not.
    pub(crate) fn find(options: &Options) -> Vec<Self> {
        let on_push = options.functions.join("on-push");
        let transship = match on_push.canonicalize() {
            Ok(program) => Ok(Place { program, version: own_version() }),
            Err(_) => Err("`cargo build --release --bin on-push`"),
        };
        let peers = PEERS
            .into_iter()
            .filter(|(name, ..)| options.only.is_empty() || options.only.iter().any(|only| only == name));
        let peers = peers.map(|(name, words, how)| {
            let place = search(name, options.tools.as_deref()).map(|program| {
                let version = version(&program, words);
                Place { program, version }
            });
            Self { name, place: place.ok_or(how) }
        });
        std::iter::once(Self { name: TRANSSHIP, place: transship }).chain(peers).collect()
    }

    /// Whether it is another tool, and here.
    pub(crate) fn is_peer_here(&self) -> bool {
        self.name != TRANSSHIP && self.place.is_ok()
    }

    /// The words that make it copy `from` to `to`, what is attached too where a case has something: those tools that
    /// know how are told to.
    pub(crate) fn words(&self, case: Case, from: &str, to: &str) -> Vec<String> {
        let attached = case.is_attached();
        let mut words: Vec<&str> = match self.name {
            "regctl" if attached => vec!["image", "copy", "--referrers", "--digest-tags"],
            "regctl" => vec!["image", "copy"],
            "oras" if attached => vec!["copy", "--recursive"],
            // Every platform, and every byte as it is; the policy is a file that not every machine has.
            "skopeo" => vec!["--insecure-policy", "copy", "--all", "--preserve-digests"],
            _ => vec!["copy"],
        };
        let scheme = if self.name == "skopeo" { "docker://" } else { "" };
        let (from, to) = (format!("{scheme}{from}"), format!("{scheme}{to}"));
        words.extend([from.as_str(), to.as_str()]);
        words.into_iter().map(str::to_owned).collect()
    }

    /// What the tool finds around it: a home of its own, so that no configuration, credential or cache of this machine
    /// decides, and the registries' authority.
    pub(crate) fn environment(home: &Path, authority: &Path) -> Vec<(&'static str, OsString)> {
        let path = env::var_os("PATH").unwrap_or_default();
        let home = home.as_os_str().to_owned();
        let folders = ["HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "DOCKER_CONFIG", "TMPDIR"];
        let folders = folders.map(|name| (name, home.clone())).into_iter();
        folders.chain([("PATH", path), ("SSL_CERT_FILE", authority.as_os_str().to_owned())]).collect()
    }
}

/// A program of this name, in that folder or on the `PATH`.
fn search(name: &str, folder: Option<&Path>) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = folder.map(Path::to_owned).into_iter().chain(env::split_paths(&path));
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())?.canonicalize().ok()
}

fn version(program: &Path, words: &[&str]) -> String {
    let said = Command::new(program).args(words).env_remove("SSL_CERT_FILE").output();
    said.map(|output| version_in(&String::from_utf8_lossy(&output.stdout)).to_owned()).unwrap_or_default()
}

/// The last word of the first line: `v0.22.1`, `VCSTag:     v0.11.7`, `skopeo version 1.9.3`.
fn version_in(said: &str) -> &str {
    said.lines().next().and_then(|line| line.split_whitespace().last()).unwrap_or("?")
}

/// The version of this workspace, and the commit where git can tell.
fn own_version() -> String {
    let git = Command::new("git").args(["describe", "--always", "--dirty", "--exclude", "*"]).output();
    let commit = git.ok().filter(|output| output.status.success());
    let commit = commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let version = env!("CARGO_PKG_VERSION");
    commit.map_or_else(|| version.to_owned(), |commit| format!("{version} ({commit})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tool_says_its_version_in_its_own_way() {
        assert_eq!(version_in("v0.22.1\n"), "v0.22.1");
        assert_eq!(version_in("VCSTag:     v0.11.7\nVCSRef:     unknown\n"), "v0.11.7");
        assert_eq!(version_in("skopeo version 1.9.3\n"), "1.9.3");
        assert_eq!(version_in(""), "?");
    }

    #[test]
    fn what_is_attached_is_asked_for_where_there_is_something() {
        let tool = |name| Tool { name, place: Err("") };
        assert_eq!(tool("regctl").words(Case::First, "a", "b"), ["image", "copy", "a", "b"]);
        assert!(tool("regctl").words(Case::Platforms, "a", "b").contains(&"--referrers".to_owned()));
        assert!(tool("oras").words(Case::Platforms, "a", "b").contains(&"--recursive".to_owned()));
        assert_eq!(tool("crane").words(Case::Platforms, "a", "b"), ["copy", "a", "b"]);
        assert!(tool("skopeo").words(Case::First, "a", "b").ends_with(&["docker://a".into(), "docker://b".into()]));
    }
}
