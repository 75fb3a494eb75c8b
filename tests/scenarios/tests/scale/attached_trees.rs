//! Any tree of indexes, artifacts and artifacts of artifacts that fits the bounds arrives whole; any other one is refused
//! before the first upload.

use std::{cell::Cell, time::Duration};

use emulator::{Builder, Descriptor, Image, Index, Kind, Personality, Registry, Store, image::OCI_INDEX};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use scenarios::{
    World,
    attached::{artifact, attach, listed, tag_of},
};
use serde_json::{Value, json};
use transfer::compose::Tuning;

use crate::{inside, support::watched};

const CASES: u32 = 40;

/// What the code says: referrers of referrers, and manifests that are attached in all.
const MAX_DEPTH: usize = 8;
const MAX_ATTACHED: usize = 1000;

const REPOSITORY: &str = "team/app";

#[derive(Debug, Clone, Copy)]
enum How {
    /// An artifact refers to it.
    Refers,
    /// So do this many like it.
    Many(usize),
    /// An index refers to it, with two images.
    Index,
    /// A tag of cosign's says so.
    Tagged,
    /// This many that refer to each other, the first one to it.
    Chain(usize),
}

/// An image, and what is attached: each to the manifest of this number, of those that are there by then.
#[derive(Debug, Clone)]
struct Tree {
    platforms: u64,
    nested: bool,
    attachments: Vec<(usize, How)>,
    from_api: bool,
    to_api: bool,
}

fn trees() -> impl Strategy<Value = Tree> {
    let how = prop_oneof![
        30 => Just(How::Refers),
        4 => (2_usize..30).prop_map(How::Many),
        1 => (400_usize..600).prop_map(How::Many),
        10 => Just(How::Index),
        10 => Just(How::Tagged),
        10 => (2_usize..11).prop_map(How::Chain),
    ];
    let attachments = prop::collection::vec((any::<usize>(), how), 0..8);
    (0_u64..4, any::<bool>(), attachments, any::<bool>(), any::<bool>()).prop_map(
        |(platforms, nested, attachments, from_api, to_api)| Tree { platforms, nested, attachments, from_api, to_api },
    )
}

/// A tree in a repository.
struct Pushed<'s> {
    store: &'s Store,
    api: bool,
    seed: u64,
    /// The image's own manifests, then those that are attached.
    nodes: Vec<Descriptor>,
    own: usize,
}

impl<'s> Pushed<'s> {
    fn new(tree: &Tree, store: &'s Store, seed: u64) -> Self {
        let mut pushed = Self { store, api: tree.from_api, seed, nodes: Vec::new(), own: 0 };
        let images: Vec<Image> = (0..tree.platforms.max(1)).map(|number| pushed.image(number)).collect();
        pushed.nodes.extend(images.iter().map(Image::descriptor));
        if tree.platforms == 0 {
            images[0].push_to(store, REPOSITORY, "v1");
        } else {
            let mut root = Index::of(&images.iter().collect::<Vec<_>>());
            pushed.nodes.push(root.descriptor());
            if tree.nested {
                root = Index::builder().child(&root).annotation("nested", "yes").build();
                pushed.nodes.push(root.descriptor());
            }
            root.push_to(store, REPOSITORY, "v1");
        }
        pushed.own = pushed.nodes.len();
        for (number, (to, how)) in tree.attachments.iter().enumerate() {
            pushed.attach(to % pushed.nodes.len(), *how, number as u64);
        }
        pushed
    }

    fn image(&self, number: u64) -> Image {
        Image::small(self.seed * 1000 + number)
    }

    fn attach(&mut self, to: usize, how: How, number: u64) {
        let text = |part: usize| format!("{} {number} {part}", self.seed);
        match how {
            How::Refers => self.refer(to, &text(0)),
            How::Many(many) => (0..many).map(text).collect::<Vec<_>>().iter().for_each(|text| self.refer(to, text)),
            How::Chain(length) => {
                let texts: Vec<String> = (0..length).map(text).collect();
                let mut to = to;
                for text in texts {
                    self.refer(to, &text);
                    to = self.nodes.len() - 1;
                }
            }
            How::Index => {
                let parts = [self.image(500 + 2 * number), self.image(501 + 2 * number)];
                let subject = &self.nodes[to];
                let index = Index::builder().child(&parts[0]).child(&parts[1]);
                let index = index.artifact_type("application/vnd.example.bundle").subject(subject).build();
                index.push_to(self.store, REPOSITORY, &index.digest);
                if !self.api {
                    let mut entries = listed(self.store, REPOSITORY, &subject.digest);
                    entries.push(json!(index.descriptor()));
                    let list = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
                    self.store.put_manifest(REPOSITORY, &tag_of(&subject.digest, ""), OCI_INDEX, list.to_string());
                }
                self.nodes.extend([index.descriptor(), parts[0].descriptor(), parts[1].descriptor()]);
            }
            How::Tagged => {
                let signature = self.image(700 + number);
                signature.push_to(self.store, REPOSITORY, &tag_of(&self.nodes[to].digest, ".sig"));
                self.nodes.push(signature.descriptor());
            }
        }
    }

    fn refer(&mut self, to: usize, text: &str) {
        let subject = &self.nodes[to];
        let artifact = artifact("application/vnd.example.note", text, subject);
        attach(self.store, REPOSITORY, &artifact, &subject.digest, self.api);
        self.nodes.push(artifact.descriptor());
    }

    /// What can be reached from the image, and how deep that goes: the plain way.
    fn reachable(&self) -> (Vec<String>, usize) {
        let digests = |nodes: &[Descriptor]| nodes.iter().map(|node| node.digest.clone()).collect::<Vec<_>>();
        let own = digests(&self.nodes[..self.own]);
        let (mut found, mut level, mut depth) = (Vec::new(), own.clone(), 0);
        loop {
            let mut next: Vec<String> = Vec::new();
            for subject in &level {
                let tagged = self.store.tag(REPOSITORY, &tag_of(subject, ".sig"));
                for digest in self.store.referrers(REPOSITORY, subject).into_iter().chain(tagged) {
                    let bytes = self.store.manifest(REPOSITORY, &digest).expect("it was pushed").bytes;
                    let manifest: Value = serde_json::from_slice(&bytes).unwrap();
                    let below = manifest["manifests"].as_array().cloned().unwrap_or_default();
                    next.extend(below.iter().map(|child| child["digest"].as_str().unwrap().to_owned()));
                    next.push(digest);
                }
            }
            next.sort_unstable();
            next.dedup();
            next.retain(|digest| !found.contains(digest) && !own.contains(digest));
            if next.is_empty() {
                return (found, depth);
            }
            depth += 1;
            found.extend(next.iter().cloned());
            level = next;
        }
    }
}

async fn holds(tree: &Tree, seed: u64) {
    let plain = |api: bool| -> Builder { Registry::builder(Personality::Plain).referrers(api) };
    let world = World::between(plain(tree.from_api), plain(tree.to_api)).await;
    let (source, destination) = (world.source.store(), world.destination.store());
    let pushed = Pushed::new(tree, source, seed);
    let app = inside::app(&world.config, Tuning::default()).await;
    let of = |host: &str| format!("{host}/{REPOSITORY}:v1");
    let ends = (of(&world.source_host), of(&world.destination_host));
    let report = inside::sync(&app, &ends.0, &ends.1, Duration::from_secs(60)).await;
    let (attached, depth) = pushed.reachable();
    if depth > MAX_DEPTH || attached.len() > MAX_ATTACHED {
        let error = report.error.expect("it is over the bounds");
        assert_eq!(error.error_type.name(), "ManifestInvalid", "{error}");
        for kind in [Kind::UploadStart, Kind::UploadPut, Kind::ManifestPut] {
            assert_eq!(world.destination.journal().count(kind), 0, "{kind:?}");
        }
        return;
    }
    assert!(report.error.is_none(), "{:?}", report.error);
    assert_eq!(report.referrers.pushed, attached.len() as u64);
    destination.is_whole(REPOSITORY, "v1").unwrap();
    let bytes = |store: &Store, digest: &str| store.manifest(REPOSITORY, digest).map(|manifest| manifest.bytes);
    for digest in &attached {
        destination.is_whole(REPOSITORY, digest).unwrap();
        assert_eq!(bytes(source, digest), bytes(destination, digest));
    }
    for subject in pushed.nodes.iter().map(|node| &node.digest).filter(|digest| bytes(destination, digest).is_some()) {
        assert_eq!(source.referrers(REPOSITORY, subject), destination.referrers(REPOSITORY, subject));
        let tag = tag_of(subject, ".sig");
        assert_eq!(source.tag(REPOSITORY, &tag), destination.tag(REPOSITORY, &tag));
        if !tree.to_api {
            let entries = listed(destination, REPOSITORY, subject);
            assert_eq!(entries.len(), source.referrers(REPOSITORY, subject).len());
        }
    }
    let again = inside::sync(&app, &ends.0, &ends.1, Duration::from_secs(60)).await;
    assert!(again.error.is_none(), "{:?}", again.error);
    assert_eq!((again.referrers.pushed, again.blobs.transferred), (0, 0));
    assert_eq!(again.referrers.present, attached.len() as u64);
}

/// What counts is all that is attached, not what lists name: each of these brings two manifests along.
#[tokio::test]
async fn the_bound_counts_the_children_of_what_is_attached() {
    watched(async {
        for (number, indexes) in [MAX_ATTACHED / 3, MAX_ATTACHED / 3 + 1].into_iter().enumerate() {
            let attachments = vec![(0, How::Index); indexes];
            let tree = Tree { platforms: 0, nested: false, attachments, from_api: true, to_api: true };
            holds(&tree, 10_000 + number as u64).await;
        }
    })
    .await;
}

#[test]
fn any_tree_within_the_bounds_arrives_whole_and_any_other_is_refused_before_the_first_upload() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config = Config { cases: CASES, failure_persistence: None, max_shrink_iters: 30, ..Config::default() };
    let seeds = Cell::new(0);
    TestRunner::new(config)
        .run(&trees(), |tree| {
            seeds.set(seeds.get() + 1);
            let case = std::panic::AssertUnwindSafe(|| runtime.block_on(watched(holds(&tree, seeds.get()))));
            prop_assert!(std::panic::catch_unwind(case).is_ok());
            Ok(())
        })
        .unwrap();
}
