//! Request rates: a token bucket for each operation of ECR.

use std::{collections::BTreeMap, sync::Mutex, time::Instant};

use crate::{lock, registry::Personality};

/// Quotas per account and region, in requests a second (AmazonECR user guide, service quotas, 2026-10).
const PRIVATE: [(&str, u32); 8] = [
    ("BatchCheckLayerAvailability", 1000),
    ("BatchGetImage", 2000),
    ("GetAuthorizationToken", 500),
    ("GetDownloadUrlForLayer", 3000),
    ("InitiateLayerUpload", 100),
    ("UploadLayerPart", 500),
    ("CompleteLayerUpload", 100),
    ("PutImage", 10),
];
const PUBLIC: [(&str, u32); 7] = [
    ("BatchCheckLayerAvailability", 200),
    ("BatchGetImage", 10),
    ("GetAuthorizationToken", 200),
    ("InitiateLayerUpload", 10),
    ("UploadLayerPart", 260),
    ("CompleteLayerUpload", 10),
    ("PutImage", 10),
];

#[derive(Debug)]
struct Bucket {
    per_second: f64,
    left: f64,
    at: Instant,
}

/// The buckets of one registry; no bucket, no limit.
#[derive(Debug, Default)]
pub(crate) struct Buckets(Mutex<BTreeMap<&'static str, Bucket>>);

impl Buckets {
    pub(crate) fn quotas(personality: Personality) -> Self {
        let buckets = Self::default();
        let quotas: &[_] = if personality == Personality::EcrPublic { &PUBLIC } else { &PRIVATE };
        for (operation, per_second) in quotas {
            buckets.limit(operation, *per_second);
        }
        buckets
    }

    pub(crate) fn limit(&self, operation: &'static str, per_second: u32) {
        let per_second = f64::from(per_second);
        lock(&self.0).insert(operation, Bucket { per_second, left: per_second, at: Instant::now() });
    }

    /// Takes one request from the bucket; false when it is empty.
    pub(crate) fn take(&self, operation: &str) -> bool {
        let mut buckets = lock(&self.0);
        let Some(bucket) = buckets.get_mut(operation) else { return true };
        let now = Instant::now();
        let grown = bucket.left + now.duration_since(bucket.at).as_secs_f64() * bucket.per_second;
        bucket.at = now;
        bucket.left = grown.min(bucket.per_second);
        let granted = bucket.left >= 1.0;
        if granted {
            bucket.left -= 1.0;
        }
        granted
    }
}
