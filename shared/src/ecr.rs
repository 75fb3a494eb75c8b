//! What of ECR is not the distribution specification: tokens, layer availability, repositories. The AWS SDK's ECR
//! clients are fenced in here, behind the traits of [`crate::registry`] and [`crate::limits`].

mod alias;
mod api;
mod archive;
mod availability;
mod credentials;
mod listing;
mod policies;
mod public;
mod removal;
mod repository;
mod scan;

pub use api::EcrApi;
pub use archive::{Archived, EcrArchive};
pub use availability::EcrAvailability;
pub use credentials::{EcrLogin, EcrPublicLogin};
pub use listing::EcrListing;
pub use public::{EcrPublicApi, EcrPublicAvailability, EcrPublicRepositories};
pub use removal::{EcrPublicTags, EcrTags};
pub use repository::EcrRepositories;
pub use scan::EcrScans;
