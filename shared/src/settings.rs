//! What users write: the environment (read here and nowhere else) and the configuration document. Shapes and names
//! alone; [`crate::config`] checks them.

mod document;
mod environment;

pub use document::{
    CreateRepository, Document, Encryption, EncryptionType, LimitSettings, Policy, RegistrySettings, RuleSettings,
    SourceSettings, TagMutability, TagSettings, Untagged, WorkloadIdentitySettings,
};
pub use environment::{ConfigSource, Environment, variable};
