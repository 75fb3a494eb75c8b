//! What is copied, and what the destination has of it before.

use std::str::FromStr;

use emulator::{Image, Registry, Store, image::generated_layer};
use scenarios::attached::Release;
use serde::{Deserialize, Serialize};

/// How many layers the image has that most cases copy.
const LAYERS: u64 = 8;

/// The layer that is another one in the changed image: small, as what people build anew mostly is.
const CHANGED_BYTES: u64 = 64 << 10;

/// The repository that copies go to, in front of the source's name.
pub(crate) const MIRROR: &str = "mirror";

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Case {
    /// An image of eight layers to an empty destination.
    First,
    /// The same where it is already.
    Again,
    /// A version of it of which the destination has seven layers.
    OneLayer,
    /// An index of five platforms with attestations, a signature and an SBOM.
    Platforms,
    /// As [`Case::First`], both registries a round trip away.
    Far,
    /// One large layer.
    Large,
}

/// How large images are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Bytes of each of the layers of the image that most cases copy.
    pub(crate) layer: u64,
    /// Bytes of the one large layer.
    pub(crate) large: u64,
}

impl Case {
    /// All of them, in order.
    pub(crate) const ALL: [Self; 6] =
        [Self::First, Self::Again, Self::OneLayer, Self::Platforms, Self::Far, Self::Large];

    /// What the command line and the record call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Again => "again",
            Self::OneLayer => "one-layer",
            Self::Platforms => "platforms",
            Self::Far => "far",
            Self::Large => "large",
        }
    }

    /// What the report calls it.
    pub(crate) fn title(self, sizes: Sizes, rtt_ms: u64) -> String {
        let mib = |bytes: u64| match bytes {
            bytes if bytes >= 1 << 20 => format!("{} MiB", bytes >> 20),
            bytes => format!("{} KiB", bytes >> 10),
        };
        let layers = format!("{} in {LAYERS} layers", mib(sizes.layer * LAYERS));
        match self {
            Self::First => format!("First copy: {layers}"),
            Self::Again => "The same again: nothing to do".to_owned(),
            Self::OneLayer => {
                format!(
                    "One of the {LAYERS} layers is new: {} of {}",
                    mib(CHANGED_BYTES),
                    mib(sizes.layer * (LAYERS - 1))
                )
            }
            Self::Platforms => {
                "An index of 5 platforms, with attestations, a signature, and what refers to it".to_owned()
            }
            Self::Far => format!("First copy, {rtt_ms} ms to each registry and back: {layers}"),
            Self::Large => format!("One layer of {}", mib(sizes.large)),
        }
    }

    /// Whether there is something attached, which a tool has to be told to copy.
    pub(crate) fn is_attached(self) -> bool {
        self == Self::Platforms
    }

    /// Whether a round trip takes time.
    pub(crate) fn is_far(self) -> bool {
        self == Self::Far
    }

    /// Repository and tag at the source.
    pub(crate) fn image(self) -> (&'static str, &'static str) {
        match self {
            Self::First | Self::Again | Self::Far => ("bench/layers", "v1"),
            Self::OneLayer => ("bench/layers", "v2"),
            Self::Platforms => ("bench/platforms", "v1"),
            Self::Large => ("bench/large", "v1"),
        }
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|case| case.name() == text);
        found.ok_or_else(|| format!("{text:?} is none of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// All images.
pub(crate) struct Images {
    layers: Image,
    changed: Image,
    large: Image,
    platforms: Release,
}

impl Images {
    /// Those that the cases copy. Layers are made when they are read, and take no memory.
    pub(crate) fn of(sizes: Sizes, cases: &[Case]) -> Self {
        let first: Vec<_> = (1..=LAYERS).map(|seed| generated_layer(seed, sizes.layer)).collect();
        let kept = first.iter().take(first.len() - 1).cloned();
        let changed = kept.chain([generated_layer(LAYERS + 1, CHANGED_BYTES)]).collect::<Vec<_>>();
        // A gigabyte takes seconds to hash.
        let large = if cases.contains(&Case::Large) { sizes.large } else { sizes.layer };
        let large = generated_layer(LAYERS + 2, large);
        Self {
            layers: Image::builder().layers(first).build(),
            changed: Image::builder().layers(changed).build(),
            large: Image::builder().layer(large).build(),
            platforms: Release::new(),
        }
    }

    /// Puts all of them where they are copied from.
    pub(crate) fn push_to(&self, source: &Store) {
        self.layers.push_to(source, "bench/layers", "v1");
        self.changed.push_to(source, "bench/layers", "v2");
        self.large.push_to(source, "bench/large", "v1");
        self.platforms.push_to(source, "bench/platforms", "v1", true);
    }

    /// Empties the destination, but for what a case begins with.
    pub(crate) fn prepare(&self, case: Case, destination: &Registry) {
        let store = destination.store();
        store.repositories().iter().for_each(|name| store.remove_repository(name));
        destination.expire_uploads();
        if matches!(case, Case::Again | Case::OneLayer) {
            self.layers.push_to(store, &format!("{MIRROR}/bench/layers"), "v1");
        }
    }

    /// Of what is attached, how much arrived; none where nothing is.
    pub(crate) fn attached(&self, case: Case, destination: &Store) -> Option<(u64, u64)> {
        let (repository, _) = case.image();
        let repository = format!("{MIRROR}/{repository}");
        let arrived = |digest: &str| destination.is_whole(&repository, digest).is_ok();
        case.is_attached().then(|| {
            let mut there: Vec<bool> =
                self.platforms.referring().iter().map(|(artifact, _)| arrived(&artifact.digest)).collect();
            there.push(destination.tag(&repository, &self.platforms.signature_tag()).is_some());
            (there.iter().filter(|there| **there).count() as u64, there.len() as u64)
        })
    }
}
