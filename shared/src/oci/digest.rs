//! A content digest, and the hasher that proves bytes against it.

use std::{fmt, str::FromStr, sync::Arc};

use sha2::{Digest as _, Sha256, Sha512, digest::common::hazmat::SerializableState};

/// A digest whose algorithm we can verify: `sha256:<64 hex>` or `sha512:<128 hex>`.
///
/// Source: OCI image-spec, "Digests". Other registered algorithms (blake3) are refused when parsed, since
/// nothing that can't be verified is copied.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(Arc<str>);

/// A text is no digest that we can verify.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no digest: expected sha256:<64 lower-case hex digits> or sha512:<128>")]
pub struct DigestError {
    /// The text, cut to a sane length.
    pub text: String,
}

impl Digest {
    /// The SHA-256 digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::Sha256(Sha256::new());
        hasher.update(bytes);
        hasher.finish()
    }

    /// Whether this is the digest of `bytes`, under this digest's own algorithm.
    #[must_use]
    pub fn matches(&self, bytes: &[u8]) -> bool {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        hasher.finish() == *self
    }

    /// A hasher of this digest's algorithm.
    #[must_use]
    pub fn hasher(&self) -> Hasher {
        if self.0.starts_with("sha512:") {
            Hasher::Sha512(Box::new(Sha512::new()))
        } else {
            Hasher::Sha256(Sha256::new())
        }
    }

    /// A hasher that goes on from a saved state; `None`: that is no state of this digest's algorithm.
    #[must_use]
    pub fn hasher_from(&self, state: &[u8]) -> Option<Hasher> {
        Some(match self.hasher() {
            Hasher::Sha256(_) => Hasher::Sha256(Sha256::deserialize(state.try_into().ok()?).ok()?),
            Hasher::Sha512(_) => Hasher::Sha512(Box::new(Sha512::deserialize(state.try_into().ok()?).ok()?)),
        })
    }

    /// Whether it is one of SHA-256, which every registry takes.
    #[must_use]
    pub fn is_sha256(&self) -> bool {
        self.0.starts_with("sha256:")
    }

    /// The whole text, `algorithm:hex`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let wrong = || DigestError { text: text.chars().take(160).collect() };
        let (algorithm, hex) = text.split_once(':').ok_or_else(wrong)?;
        let length = match algorithm {
            "sha256" => 64,
            "sha512" => 128,
            _ => return Err(wrong()),
        };
        if hex.len() != length || !hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(wrong());
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A running hash over bytes that pass.
#[derive(Clone)]
pub enum Hasher {
    /// SHA-256.
    Sha256(Sha256),
    /// SHA-512; boxed, since its state is several times as large and rare.
    Sha512(Box<Sha512>),
}

impl Hasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// The state after all bytes taken, so that another process can go on with it.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        match self {
            Self::Sha256(hasher) => hasher.serialize().to_vec(),
            Self::Sha512(hasher) => hasher.serialize().to_vec(),
        }
    }

    /// The digest of all bytes taken.
    #[must_use]
    pub fn finish(self) -> Digest {
        match self {
            Self::Sha256(hasher) => Digest(hex("sha256:", &hasher.finalize())),
            Self::Sha512(hasher) => Digest(hex("sha512:", &hasher.finalize())),
        }
    }
}

fn hex(prefix: &str, bytes: &[u8]) -> Arc<str> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(prefix.len() + bytes.len() * 2);
    text.push_str(prefix);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_of_bytes_is_the_published_one() {
        // FIPS 180-4 example: "abc".
        let digest = Digest::of(b"abc");
        assert_eq!(digest.as_str(), "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(digest.matches(b"abc"));
        assert!(!digest.matches(b"abd"));
    }

    #[test]
    fn sha512_is_verified_under_its_own_algorithm() {
        let text = "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                    2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";
        let digest: Digest = text.parse().unwrap();
        assert!(digest.matches(b"abc"));
    }

    #[test]
    fn a_saved_hash_goes_on_where_it_was() {
        let whole: Vec<u8> = (0..1000_u32).flat_map(u32::to_be_bytes).collect();
        let sha512: Digest = format!("sha512:{}", "0".repeat(128)).parse().unwrap();
        for digest in [Digest::of(b""), sha512] {
            let mut all = digest.hasher();
            all.update(&whole);
            let all = all.finish();
            for cut in [0, 1, 63, 64, 65, 127, 128, 3999, 4000] {
                let mut first = digest.hasher();
                first.update(&whole[..cut]);
                let mut rest = digest.hasher_from(&first.save()).unwrap();
                rest.update(&whole[cut..]);
                assert_eq!(rest.finish(), all, "{cut}");
            }
        }
        assert!(Digest::of(b"").hasher_from(b"short").is_none());
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        for text in ["", "sha256", "sha256:", "sha256:abc", "md5:d41d8cd98f00b204e9800998ecf8427e"] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
        let upper = format!("sha256:{}", "A".repeat(64));
        assert!(upper.parse::<Digest>().is_err());
    }
}
