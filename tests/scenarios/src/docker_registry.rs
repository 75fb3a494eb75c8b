//! Debian's `docker-registry` (distribution 2.8): a real registry that is not ours.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use emulator::Authority;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{Remote, function::read_lines, http_client};

/// How to start a registry.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    tls: bool,
    credentials: Option<(String, String)>,
    in_memory: bool,
}

/// A registry that runs. Killed when dropped, its storage removed.
pub struct DockerRegistry {
    port: u16,
    settings: Settings,
    authority: Option<String>,
    lines: Arc<Mutex<Vec<String>>>,
    folder: TempDir,
    _child: Child,
}

impl Settings {
    /// Speaks TLS (and h2 then) instead of plain HTTP.
    #[must_use]
    pub fn tls(self) -> Self {
        Self { tls: true, ..self }
    }

    /// Asks for this user and password.
    #[must_use]
    pub fn credentials(self, username: &str, password: &str) -> Self {
        Self { credentials: Some((username.to_owned(), password.to_owned())), ..self }
    }

    /// Keeps the storage on tmpfs, so that disks are not what is measured.
    #[must_use]
    pub fn in_memory(self) -> Self {
        Self { in_memory: true, ..self }
    }

    /// Starts the registry on a free port and waits until it answers.
    pub async fn start(self) -> DockerRegistry {
        // The port is free when we look and may be taken when the registry binds it.
        for _ in 0..5 {
            if let Some(registry) = self.clone().try_start().await {
                return registry;
            }
        }
        panic!("docker-registry did not start five times in a row: see its log above");
    }

    async fn try_start(self) -> Option<DockerRegistry> {
        let folder = if self.in_memory { tempfile::tempdir_in("/dev/shm") } else { tempfile::tempdir() };
        let folder = folder.expect("a temporary folder can be made");
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback address has a free port");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        drop(listener);
        let authority = self.tls.then(|| write_certificate(folder.path()));
        if let Some((username, password)) = &self.credentials {
            // The least cost that bcrypt knows: a test's password protects nothing.
            let hash = bcrypt::hash_with_result(password, 4).expect("bcrypt takes this password");
            let line = format!("{username}:{}\n", hash.format_for_version(bcrypt::Version::TwoY));
            fs::write(folder.path().join("htpasswd"), line).expect("the folder can be written");
        }
        let config = folder.path().join("config.yml");
        // JSON is YAML.
        fs::write(&config, self.config(folder.path(), port).to_string()).expect("the folder can be written");
        let mut child = Command::new("docker-registry")
            .args(["serve"])
            .arg(&config)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("docker-registry is installed: run scripts/install-test-tools");
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        read_lines(child.stdout.take().expect("standard output is piped"), lines.clone());
        read_lines(child.stderr.take().expect("standard error is piped"), lines.clone());
        let mut registry = DockerRegistry { port, settings: self, authority, lines, folder, _child: child };
        registry.answers().await.then_some(registry)
    }

    fn config(&self, folder: &Path, port: u16) -> Value {
        let path = |name: &str| folder.join(name).display().to_string();
        let mut config = json!({
            "version": 0.1,
            "log": { "level": "info", "formatter": "json" },
            "storage": {
                "filesystem": { "rootdirectory": path("storage") },
                "delete": { "enabled": true },
                "maintenance": { "uploadpurging": { "enabled": false } },
            },
            "http": { "addr": format!("127.0.0.1:{port}"), "secret": "of-a-test" },
        });
        if self.tls {
            config["http"]["tls"] = json!({ "certificate": path("server.pem"), "key": path("server.key") });
        }
        if self.credentials.is_some() {
            config["auth"] = json!({ "htpasswd": { "realm": "test", "path": path("htpasswd") } });
        }
        config
    }
}

impl DockerRegistry {
    /// Starts a registry over plain HTTP that asks for no password.
    pub async fn start() -> Self {
        Settings::default().start().await
    }

    /// Settings to start from.
    #[must_use]
    pub fn settings() -> Settings {
        Settings::default()
    }

    /// The registry as it stands in references: `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its URL, `http` or `https`.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.settings.tls { "https" } else { "http" }, self.host())
    }

    /// The authority that signed its certificate, in PEM.
    pub fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }

    /// How skopeo reaches it.
    pub fn remote(&self) -> Remote {
        let remote = Remote::new(&self.host());
        let remote = match &self.settings.credentials {
            Some((username, password)) => remote.credentials(username, password),
            None => remote,
        };
        if self.settings.tls { remote.trusting(&self.folder.path().join("trust")) } else { remote.plain_http() }
    }

    /// What it logged, one JSON record a line, and its access log in Apache's combined format.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many requests of this method it served for paths that contain this text, by its access log.
    pub fn requests(&self, method: &str, path: &str) -> usize {
        let begin = format!("\"{method} ");
        let served = |line: &&String| line.split_once(&begin).is_some_and(|(_, rest)| rest.contains(path));
        // Records quote their fields with a backslash or a colon before; only the access log has `"GET /…`.
        self.lines().iter().filter(|line| !line.starts_with('{')).filter(served).count()
    }

    /// How many requests it served in all, by its access log, once that has not grown for a while.
    pub async fn settled(&self) -> usize {
        let count = || ["GET", "HEAD", "POST", "PATCH", "PUT", "DELETE"].iter().map(|m| self.requests(m, "")).sum();
        let mut seen: usize = count();
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = count();
            if now == seen {
                return now;
            }
            seen = now;
        }
    }

    async fn answers(&mut self) -> bool {
        let client = http_client::client(self.authority.as_deref());
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(20) {
            let answer = client.get(format!("{}/v2/", self.url())).send().await;
            if answer.is_ok_and(|answer| matches!(answer.status().as_u16(), 200 | 401)) {
                return true;
            }
            if matches!(self._child.try_wait(), Ok(Some(_))) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        print_log(&self.lines());
        false
    }
}

#[allow(clippy::print_stderr, reason = "a registry that does not start says why")]
fn print_log(lines: &[String]) {
    lines.iter().for_each(|line| eprintln!("docker-registry: {line}"));
}

/// Writes the server's certificate and key, and the authority where skopeo looks for it. Answers the authority.
fn write_certificate(folder: &Path) -> String {
    let authority = Authority::new();
    let certificate = authority.server(&["127.0.0.1", "localhost"]);
    let trust = folder.join("trust");
    let write = || {
        fs::create_dir(&trust)?;
        fs::write(trust.join("ca.crt"), authority.pem())?;
        fs::write(folder.join("server.pem"), &certificate.pem)?;
        fs::write(folder.join("server.key"), &certificate.key_pem)
    };
    write().expect("the folder can be written");
    authority.pem().to_owned()
}
