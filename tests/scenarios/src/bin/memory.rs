//! Measures what a large layer costs the release binary in memory, time and CPU: `make memory`.
//!
//! One image of one layer of some GiB and 20 layers of 20 MiB goes from one `docker-registry` to another, over plain
//! HTTP and over TLS, through `on-push` with 128 MB. No registry here is ours, and no image is ever whole in memory.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a measuring program that tells a person")]

use std::{
    env,
    process::ExitCode,
    time::{Duration, Instant},
};

use reqwest::{Client, Response, header::LOCATION};
use scenarios::{
    DockerRegistry, Function, Settings,
    http_client::client,
    layout::sha256,
    measure::{cpu_seconds, mib},
    world::{SOURCE, push_event},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What `on-push` may have, in MiB, and the most that it may hold.
const FUNCTION_MEMORY: u32 = 128;
const MOST: f64 = 64.0;

/// More than this between the images of one scheme is growth. Less is chance: which buffers are full at one moment.
/// Measured 2026-11: up to 4 MiB between two runs of the same image.
const CHANCE: f64 = 6.0;

const MIB: usize = 1 << 20;
const SMALL_LAYERS: usize = 20;
const SMALL_LAYER_MIB: usize = 20;

/// Bytes of one request of an upload: some memory here, few requests there.
const PIECE: usize = 32 * MIB;

/// What Lambda gives an invocation at most.
const TIMEOUT: Duration = Duration::from_secs(900);

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

#[tokio::main]
async fn main() -> ExitCode {
    let given: Vec<usize> = env::args().skip(1).map(|text| text.parse().expect("sizes are in GiB")).collect();
    let sizes = if given.is_empty() { vec![2, 4] } else { given };
    println!("on-push with {FUNCTION_MEMORY} MB; {SMALL_LAYERS} layers of {SMALL_LAYER_MIB} MiB, and one of");
    let mut good = true;
    for tls in [false, true] {
        let (mut least, mut most) = (f64::MAX, 0.0_f64);
        for gib in &sizes {
            let peak = measure(tls, *gib).await;
            (least, most) = (least.min(peak), most.max(peak));
        }
        good &= most < MOST && most - least <= CHANCE;
    }
    println!(
        "allowed: under {MOST} MiB, and no more than {CHANCE} between the sizes: {}",
        if good { "so it is" } else { "NOT SO" }
    );
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Copies one image and tells what it took; the peak of resident memory in MiB.
async fn measure(tls: bool, gib: usize) -> f64 {
    let settings = || if tls { DockerRegistry::settings().tls() } else { DockerRegistry::settings() };
    // Disks are not what is measured.
    let (source, destination) = tokio::join!(settings().in_memory().start(), settings().in_memory().start());
    let image = Seeder::of(&source).image(gib).await;
    let digest = sha256(&image.manifest);

    let mut registries = json!({ SOURCE: entry(&source), destination.host(): entry(&destination) });
    registries[SOURCE]["endpoint"] = json!(source.url());
    registries[SOURCE]["provider"] = json!("generic");
    let rule = json!({ "destinations": [format!("{}/mirror/{{repository}}", destination.host())] });
    let config = json!({ "rules": [rule], "registries": registries }).to_string();
    let settings = Settings { memory_mb: FUNCTION_MEMORY, ..Settings::default() };
    let mut function = Function::start_with("on-push", settings, &[("TRANSSHIP_CONFIG", &config)]).await;
    function.ready().await.expect("the function starts");
    let idle = mib(function.peak_rss());

    let begun = Instant::now();
    let outcome = function.invoke(push_event("team/large", "v1", &digest), TIMEOUT).await;
    let seconds = begun.elapsed().as_secs_f64();
    let text = format!("{outcome:?}");
    let result = outcome.ok().unwrap_or_else(|| panic!("{text}"))["results"][0].clone();
    let (peak, cpu) = (mib(function.peak_rss()), cpu_seconds(&function));
    assert_eq!(result["outcome"], "synced", "{result}");
    assert_eq!(result["bytes"]["written"], json!(image.bytes), "{result}");
    assert_eq!(Seeder::of(&destination).manifest("mirror/team/large").await, image.manifest);

    let scheme = if tls { "https" } else { "http" };
    let megabytes = mib(image.bytes);
    let buffers = mib(result["peak_buffer_bytes"].as_u64().unwrap_or_default());
    println!(
        "{scheme:5} {gib} GiB: peak RSS {peak:5.1} MiB (idle {idle:4.1}, bytes held {buffers:4.1}), {seconds:5.1} s \
         ({:4.0} MiB/s), CPU {cpu:5.1} s ({:4.1} ms/MiB)",
        megabytes / seconds,
        1000.0 * cpu / megabytes,
    );
    peak
}

fn entry(registry: &DockerRegistry) -> Value {
    match registry.authority() {
        Some(pem) => json!({ "ca_certificate": pem }),
        None => json!({ "plain_http": true }),
    }
}

/// An image that was written.
struct Image {
    manifest: Vec<u8>,
    /// Of all its blobs.
    bytes: u64,
}

/// Writes an image into a registry, and reads its manifest back.
struct Seeder {
    client: Client,
    url: String,
}

impl Seeder {
    fn of(registry: &DockerRegistry) -> Self {
        Self { client: client(registry.authority()), url: registry.url() }
    }

    async fn image(&self, gib: usize) -> Image {
        let config = json!({ "os": "linux", "architecture": "arm64", "rootfs": { "type": "layers", "diff_ids": [] } });
        let config = config.to_string().into_bytes();
        let (digest, size) = self.blob(std::iter::once(config)).await;
        let config = json!({ "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": size });
        let mut bytes = size;
        let mut layers = Vec::new();
        let small = std::iter::repeat_n(SMALL_LAYER_MIB * MIB, SMALL_LAYERS);
        for (seed, length) in std::iter::once(gib * 1024 * MIB).chain(small).enumerate() {
            let (digest, size) = self.blob(noise(seed, length)).await;
            let media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
            layers.push(json!({ "mediaType": media_type, "digest": digest, "size": size }));
            bytes += size;
        }
        let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
        let manifest = manifest.to_string().into_bytes();
        let url = format!("{}/v2/team/large/manifests/v1", self.url);
        let put = self.client.put(url).header("content-type", MANIFEST).body(manifest.clone());
        assert_eq!(put.send().await.expect("the registry answers").status(), 201);
        Image { manifest, bytes }
    }

    /// Uploads a blob piece by piece; its digest and size.
    async fn blob(&self, pieces: impl Iterator<Item = Vec<u8>>) -> (String, u64) {
        let begun = self.client.post(format!("{}/v2/team/large/blobs/uploads/", self.url)).send().await;
        let mut location = location(begun.expect("the registry answers"), 202);
        let mut hasher = Sha256::new();
        let mut size = 0;
        for piece in pieces {
            hasher.update(&piece);
            let length = piece.len() as u64;
            let sent = self
                .client
                .patch(&location)
                .header("content-type", "application/octet-stream")
                .header("content-range", format!("{size}-{}", size + length - 1))
                .body(piece)
                .send()
                .await;
            location = self::location(sent.expect("the registry answers"), 202);
            size += length;
        }
        let digest: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let digest = format!("sha256:{digest}");
        let closed = self.client.put(format!("{location}&digest={digest}")).send().await;
        assert_eq!(closed.expect("the registry answers").status(), 201);
        (digest, size)
    }

    async fn manifest(&self, repository: &str) -> Vec<u8> {
        let get = self.client.get(format!("{}/v2/{repository}/manifests/v1", self.url)).header("accept", MANIFEST);
        let answer = get.send().await.expect("the registry answers");
        answer.bytes().await.expect("the registry has the manifest").to_vec()
    }
}

/// Where an upload goes on.
fn location(answer: Response, status: u16) -> String {
    assert_eq!(answer.status(), status);
    answer.headers()[LOCATION].to_str().expect("a Location is text").to_owned()
}

/// `length` bytes in pieces, no two of which are alike: one pseudo-random mebibyte over and over, with the number of
/// each written into it. Nothing on the way compresses or deduplicates.
fn noise(seed: usize, length: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mebibyte: Vec<u8> = (0..MIB / 8)
        .flat_map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .collect();
    (0..length.div_ceil(PIECE)).map(move |piece| {
        let mut bytes = mebibyte.repeat(PIECE.min(length - piece * PIECE) / MIB);
        for (number, block) in bytes.chunks_mut(MIB).enumerate() {
            block[..8].copy_from_slice(&(piece * PIECE + number).to_le_bytes());
            block[8..16].copy_from_slice(&seed.to_le_bytes());
        }
        bytes
    })
}
