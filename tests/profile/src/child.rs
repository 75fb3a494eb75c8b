//! The copier's end of the registries' process.

use emulator::Apart;

use crate::{
    error::Error,
    options::{Options, REGISTRIES},
    wire::{Description, Question, Report},
};

/// The registries, running. They end when this is dropped.
pub(crate) struct Registries(Apart);

impl Registries {
    /// Starts this program once more, as the registries, and waits until they hold the images.
    pub(crate) fn start(options: &Options) -> Result<(Self, Description), Error> {
        let words = std::iter::once(REGISTRIES).chain(options.words.iter().map(String::as_str));
        let mut apart = Apart::start(words).map_err(Error::doing("starting the registries"))?;
        let description = apart.hear().map_err(Error::doing("hearing the registries"))?;
        Ok((Self(apart), description))
    }

    /// Lets them forget what was copied and counted.
    pub(crate) fn reset(&mut self) -> Result<(), Error> {
        self.0.ask(&Question::Reset).map_err(Error::doing("asking the registries"))
    }

    /// What they counted since.
    pub(crate) fn report(&mut self) -> Result<Report, Error> {
        self.0.ask(&Question::Report).map_err(Error::doing("asking the registries"))
    }
}
