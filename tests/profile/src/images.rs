//! The images that are copied: how many, of what, and what they are called.

use emulator::{Image, Store, image::generated_layer};

/// The tag of every image.
pub(crate) const TAG: &str = "v1";

/// Images of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// What this kind is called: the phase, and the first part of the repositories.
    pub(crate) name: &'static str,
    /// How many there are.
    pub(crate) images: u64,
    /// Layers of each.
    pub(crate) layers: u64,
    /// Bytes of each layer.
    pub(crate) bytes: u64,
}

impl Shape {
    /// The repository of each image, in order.
    pub(crate) fn repositories(&self) -> impl Iterator<Item = String> + use<> {
        let name = self.name;
        (0..self.images).map(move |number| format!("{name}/{number:05}"))
    }

    /// Puts the images into `store`. Every layer differs from every other, and takes no memory: it is made when it is
    /// read.
    pub(crate) fn push_to(&self, store: &Store) {
        // Small and large ones must not share layers either, should they be of one size.
        let first = u64::from(self.name.as_bytes().first().copied().unwrap_or_default()) << 48;
        for (number, repository) in (0..).zip(self.repositories()) {
            let seeds = (0..self.layers).map(|layer| first + number * self.layers + layer);
            let layers = seeds.map(|seed| generated_layer(seed, self.bytes));
            Image::builder().layers(layers).build().push_to(store, &repository, TAG);
        }
    }
}
