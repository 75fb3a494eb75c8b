//! What was pushed before anybody replicated: the images that the demo's backfill finds.

use crate::{
    image::{Image, layer},
    store::Store,
};

/// Their repositories.
pub(super) const REPOSITORIES: [&str; 2] = ["team/api", "team/web"];

/// Releases of each; the last one has a second tag.
const RELEASES: u64 = 6;

/// Puts the releases into their repositories: all of one repository stand on one base.
pub(super) fn push_to(store: &Store) {
    for (seed, repository) in (100..).step_by(20).zip(REPOSITORIES) {
        let base = layer(seed, 1 << 20);
        for number in 0..RELEASES {
            let own = layer(seed + 1 + number, 64 << 10);
            let image = Image::builder().layer(base.clone()).layer(own).build();
            image.push_to(store, repository, &format!("v1.{number}.0"));
            if number + 1 == RELEASES {
                image.push_to(store, repository, "v1");
            }
        }
    }
}
