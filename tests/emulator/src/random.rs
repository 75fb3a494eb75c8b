//! Bytes that look random and are the same in every run, and identifiers that are not.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::{Bytes, BytesMut};

use crate::digest;

/// Generated content is made of pages; any page can be made without those before it.
const PAGE: usize = 64 * 1024;

/// One step of splitmix64: a good mix of 64 bits, from public constants.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// `size` bytes that do not compress.
pub(crate) fn bytes(seed: u64, size: usize) -> Vec<u8> {
    let mut state = mix(seed);
    let mut out = Vec::with_capacity(size + 8);
    while out.len() < size {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        out.extend_from_slice(&mix(state).to_le_bytes());
    }
    out.truncate(size);
    out
}

/// At most `max` bytes of the content of `seed` that is `size` long, from `offset`; cheap, so that tests of
/// many gigabytes spend their time elsewhere: one page of noise, stamped with the page's number.
pub(crate) fn page(seed: u64, size: u64, offset: u64, max: usize) -> Bytes {
    static NOISE: OnceLock<Vec<u8>> = OnceLock::new();
    let noise = NOISE.get_or_init(|| bytes(0, PAGE));
    let number = offset / PAGE as u64;
    let within = usize::try_from(offset % PAGE as u64).unwrap_or(0);
    let left = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
    let length = (PAGE - within).min(left).min(max);
    let stamp = mix(seed ^ mix(number)).to_le_bytes();
    let mut out = BytesMut::with_capacity(length);
    if within < stamp.len() {
        let end = stamp.len().min(within + length);
        out.extend_from_slice(&stamp[within..end]);
    }
    let from = within + out.len();
    out.extend_from_slice(&noise[from..within + length]);
    out.freeze()
}

/// What tokens and signatures of this process are made with.
pub(crate) fn secret() -> &'static str {
    static SECRET: OnceLock<String> = OnceLock::new();
    SECRET.get_or_init(|| {
        let parts: Vec<String> = (0..4u8).map(|i| format!("{:016x}", RandomState::new().hash_one(i))).collect();
        parts.concat()
    })
}

/// A signature of `text` that only this process can make.
pub(crate) fn sign(text: &str) -> String {
    digest::sha256(format!("{}/{text}", secret()).as_bytes()).split_off("sha256:".len())
}

/// Thirty-two fresh hexadecimal digits.
pub(crate) fn token() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut text = sign(&format!("token {}", COUNT.fetch_add(1, Ordering::Relaxed)));
    text.truncate(32);
    text
}

/// A fresh UUID.
pub(crate) fn uuid() -> String {
    let t = token();
    format!("{}-{}-4{}-a{}-{}", &t[..8], &t[8..12], &t[13..16], &t[17..20], &t[20..32])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_the_same_whichever_way_it_is_read() {
        let size = 3 * PAGE as u64 + 5;
        let whole: Vec<u8> = (0..4).flat_map(|n| page(7, size, n * PAGE as u64, usize::MAX).to_vec()).collect();
        assert_eq!(whole.len() as u64, size);
        let mut offset = 0;
        let mut pieces = Vec::new();
        while offset < size {
            let piece = page(7, size, offset, 3);
            offset += piece.len() as u64;
            pieces.extend_from_slice(&piece);
        }
        assert!(whole == pieces);
    }
}
