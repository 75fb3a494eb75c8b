//! The stage of `make demo`: two ECR registries in two accounts and regions, their API, and an image just pushed.

mod pushed;
mod releases;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::{Value, json};

pub use pushed::PushedImage;

use crate::{
    Authority, Journal, Kind, Origin, Personality, Registry,
    aws::{Aws, EcrApi},
};

/// Where the image was pushed to, as `events/ecr-push.json` says.
const SOURCE: &str = "111122223333.dkr.ecr.us-east-1.amazonaws.com";
const REPOSITORY: &str = "team/app";
const TAG: &str = "v1.4.0";

/// The queue that `fanout` drains, and where it puts what can never succeed.
const QUEUE: &str = "transship";
const DEAD_LETTERS: &str = "transship-dead-letters";

/// Where it goes: another account, another region.
const DESTINATION: &str = "222233334444.dkr.ecr.eu-west-1.amazonaws.com";

/// How long a message that was received stays hidden: Lambda wants six times the function's timeout; here nobody waits.
const VISIBILITY: Duration = Duration::from_secs(120);

/// The file that the configuration names: the authority that signed the certificates.
pub const CA_FILE: &str = "ca.pem";

/// How long ECR's checks lag behind an upload here. Chosen: long enough to be seen, short enough to sit through.
const VALIDATION_LAG: Duration = Duration::from_millis(300);

/// Registries and AWS APIs that run, with the image in its place.
pub struct Stage {
    authority: Authority,
    source: Registry,
    destination: Registry,
    aws: Aws,
    image: PushedImage,
    queue: String,
    dead_letters: String,
}

impl Stage {
    /// Starts everything on free ports of this machine and pushes the image.
    pub async fn start() -> Self {
        let authority = Authority::new();
        let source = Registry::builder(Personality::Ecr).account("111122223333").region("us-east-1").tls(&authority);
        let destination = Registry::builder(Personality::Ecr)
            .account("222233334444")
            .region("eu-west-1")
            .validation_lag(VALIDATION_LAG)
            .tls(&authority);
        let (source, destination) = (source.start().await, destination.start().await);
        let aws = Aws::start(vec![Arc::new(EcrApi::new(vec![source.clone(), destination.clone()]))]).await;
        let image = PushedImage::build();
        image.push_to(source.store(), REPOSITORY, TAG);
        releases::push_to(source.store());
        let (queue, dead_letters) = (aws.sqs().create(QUEUE, VISIBILITY), aws.sqs().create(DEAD_LETTERS, VISIBILITY));
        aws.sqs().redrive(&queue, &dead_letters, 5);
        Self { authority, source, destination, aws, image, queue, dead_letters }
    }

    /// The authority's certificate in PEM, for [`CA_FILE`].
    #[must_use]
    pub fn ca(&self) -> &str {
        self.authority.pem()
    }

    /// The functions' configuration: as in production, but for `endpoint`, `ca_certificate` and `redirects`, which
    /// lead to this machine.
    #[must_use]
    pub fn config(&self) -> Value {
        let here = |registry: &Registry| {
            json!({
                "endpoint": registry.url(),
                "ca_certificate": format!("file:{CA_FILE}"),
                "redirects": Vec::from_iter(registry.blob_origin()),
            })
        };
        let mut destination = here(&self.destination);
        destination["role_arn"] = "arn:aws:iam::222233334444:role/transship-push".into();
        destination["create_repository"] = json!({ "tag_mutability": "IMMUTABLE", "scan_on_push": true });
        json!({
            "rules": [{
                "name": "releases to the EU account",
                "source": { "registry": SOURCE, "repository": "team/**" },
                "tags": { "include": ["v*"] },
                "destinations": [format!("{DESTINATION}/mirror/{{repository}}:{{tag}}")],
            }],
            "registries": { SOURCE: here(&self.source), DESTINATION: destination },
        })
    }

    /// What is where, for whoever runs the show.
    #[must_use]
    pub fn description(&self) -> Value {
        let end = |host: &str, registry: &Registry, repository: String| {
            json!({
                "registry": host,
                "region": registry.region(),
                "repository": repository,
                "endpoint": registry.url(),
                "authorization": registry.ecr_authorization(),
            })
        };
        json!({
            "aws_endpoint_url": self.aws.url(),
            "queue_url": self.queue,
            "dead_letter_queue_url": self.dead_letters,
            "released": releases::REPOSITORIES,
            "tag": TAG,
            "digest": self.image.index.digest,
            "source": end(SOURCE, &self.source, REPOSITORY.to_owned()),
            "destination": end(DESTINATION, &self.destination, format!("mirror/{REPOSITORY}")),
        })
    }

    /// What was asked of the registries and APIs since the last report.
    #[must_use]
    pub fn report(&self) -> Value {
        let mut calls: BTreeMap<String, usize> = BTreeMap::new();
        for call in self.aws.calls() {
            *calls.entry(call.operation).or_default() += 1;
        }
        let report = json!({ "source": asked(self.source.journal()), "destination": asked(self.destination.journal()), "aws": calls });
        self.source.journal().clear();
        self.destination.journal().clear();
        self.aws.clear_calls();
        report
    }
}

/// A registry's requests by kind, and the bytes of blobs that came and went. A blob read counts at the registry and
/// once more at the object store that it redirects to.
fn asked(journal: &Journal) -> Value {
    let entries = journal.entries();
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for entry in &entries {
        let store = if entry.origin == Origin::Blobs { " from the object store" } else { "" };
        *kinds.entry(format!("{:?}{store}", entry.kind)).or_default() += 1;
    }
    let sent = entries.iter().filter(|entry| entry.origin == Origin::Blobs).map(|entry| entry.response_bytes);
    let uploads = [Kind::UploadStart, Kind::UploadPatch, Kind::UploadPut];
    let received = entries.iter().filter(|entry| uploads.contains(&entry.kind)).map(|entry| entry.request_bytes);
    json!({
        "requests": entries.len(),
        "kinds": kinds,
        "blob_bytes_sent": sent.sum::<u64>(),
        "blob_bytes_received": received.sum::<u64>(),
    })
}
