//! `ECR Image Scan`: basic scanning's event. Enhanced scanning's comes from Amazon Inspector and is none of ECR's.
//!
//! Source: Amazon ECR user guide, "Event for a completed image scan"; EventBridge schema registry (digest and tags are
//! optional).

use serde::Deserialize;
use serde_json::Value;

use super::{Event, invalid};
use crate::{error::Error, oci::Digest, rules::Pushed};

/// Its detail type.
pub(super) const DETAIL_TYPE: &str = "ECR Image Scan";

/// Its `detail`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ImageScan {
    scan_status: String,
    repository_name: String,
    image_digest: Option<String>,
    image_tags: Option<Vec<String>>,
}

/// What a scan's event asks for: the image under each of its tags, since any of them may be waiting. What was found is asked
/// for anew.
pub(super) fn read(detail: Value, registry: &str) -> Result<Event, Error> {
    let scan: ImageScan = serde_json::from_value(detail).map_err(|error| invalid(&format!("its `detail`: {error}")))?;
    if scan.scan_status != "COMPLETE" {
        return Ok(Event::Ignored(format!("the scan's status is {}, not COMPLETE", scan.scan_status)));
    }
    let digest = scan.image_digest.as_deref().and_then(|text| text.parse::<Digest>().ok());
    let about = |tag: Option<String>| Pushed {
        registry: registry.to_owned(),
        repository: scan.repository_name.clone(),
        tag,
        digest: digest.clone(),
        // When it was scanned is not when it was pushed.
        at: None,
    };
    let tags: Vec<String> = scan.image_tags.into_iter().flatten().filter(|tag| !tag.is_empty()).collect();
    Ok(match (tags.is_empty(), &digest) {
        (false, _) => Event::Scanned(tags.into_iter().map(|tag| about(Some(tag))).collect()),
        (true, Some(_)) => Event::Scanned(vec![about(None)]),
        (true, None) => Event::Ignored("the scan's event names neither a tag nor a digest".to_owned()),
    })
}
