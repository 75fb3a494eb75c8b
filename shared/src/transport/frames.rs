//! Which of the bytes that an h2 connection takes in are a body's.

/// Reads the framing layer (RFC 9113 §4.1) as bytes come in, in pieces of any size, and counts what `DATA` frames carry.
#[derive(Debug, Default)]
pub(super) struct DataBytes(Expect);

#[derive(Debug)]
enum Expect {
    /// A frame's header, of which so many bytes are here.
    Header([u8; HEADER_BYTES], usize),
    /// A padded frame's first byte, the length of its padding; the payload's length.
    PadLength(u32),
    /// So many bytes of a body, and so much padding behind them.
    Data(u32, u32),
    /// So many bytes that are no body's.
    Other(u32),
}

const HEADER_BYTES: usize = 9;

/// The type of frames that carry bodies (RFC 9113 §6.1).
const DATA: u8 = 0;
/// The flag of frames that carry padding besides.
const PADDED: u8 = 0x8;

impl Default for Expect {
    fn default() -> Self {
        Self::Header([0; HEADER_BYTES], 0)
    }
}

impl DataBytes {
    /// How many of the `bytes` that came in now are a body's.
    pub(super) fn among(&mut self, mut bytes: &[u8]) -> u64 {
        let mut found = 0;
        while let Some((first, rest)) = bytes.split_first() {
            let passed;
            (self.0, passed) = match self.0 {
                Expect::Header(mut header, had) => {
                    header[had] = *first;
                    let next = if had + 1 == HEADER_BYTES { payload(header) } else { Expect::Header(header, had + 1) };
                    (next, 1)
                }
                Expect::PadLength(length) => {
                    let padding = u32::from(*first).min(length - 1);
                    (Expect::Data(length - 1 - padding, padding).or_header(), 1)
                }
                Expect::Data(left, padding) => {
                    let here = here(left, bytes);
                    found += u64::from(here);
                    (Expect::Data(left - here, padding).or_header(), here)
                }
                Expect::Other(left) => {
                    let here = here(left, bytes);
                    (Expect::Other(left - here).or_header(), here)
                }
            };
            bytes = if passed == 1 { rest } else { &bytes[passed as usize..] };
        }
        found
    }
}

/// How much of `left` is in `bytes`.
fn here(left: u32, bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).min(left)
}

fn payload(header: [u8; HEADER_BYTES]) -> Expect {
    let [a, b, c, kind, flags, ..] = header;
    let length = u32::from_be_bytes([0, a, b, c]);
    match (kind, length) {
        (DATA, 1..) if flags & PADDED != 0 => Expect::PadLength(length),
        (DATA, _) => Expect::Data(length, 0).or_header(),
        _ => Expect::Other(length).or_header(),
    }
}

impl Expect {
    /// What follows where nothing is left of this.
    fn or_header(self) -> Self {
        match self {
            Self::Data(0, 0) | Self::Other(0) => Self::default(),
            Self::Data(0, padding) => Self::Other(padding),
            more => more,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// A frame, and how many bytes of a body it carries.
    fn frame() -> impl Strategy<Value = (Vec<u8>, u64)> {
        let padding = proptest::option::of(0..=255u8);
        (0..4u8, vec(any::<u8>(), 0..600), padding).prop_map(|(kind, content, padding)| {
            let padding = padding.filter(|_| kind == DATA);
            let payload = match padding {
                Some(length) => [&[length][..], &content, &vec![0; length.into()]].concat(),
                None => content.clone(),
            };
            let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
            let flags = if padding.is_some() { PADDED } else { 1 };
            let header = [length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
            ([&header[..], &payload].concat(), if kind == DATA { content.len() as u64 } else { 0 })
        })
    }

    proptest! {
        #[test]
        fn bodies_are_counted_however_the_bytes_come(frames in vec(frame(), 0..20), cuts in vec(1..400usize, 1..8)) {
            let bytes: Vec<u8> = frames.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
            let mut data = DataBytes::default();
            let (mut rest, mut found) = (&bytes[..], 0);
            for cut in cuts.iter().cycle() {
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                found += data.among(piece);
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(found, frames.iter().map(|(_, bytes)| bytes).sum::<u64>());
            prop_assert!(matches!(data.0, Expect::Header(_, 0)));
        }
    }

    #[test]
    fn padding_longer_than_its_frame_counts_as_nothing() {
        let mut data = DataBytes::default();
        assert_eq!(data.among(&[0, 0, 3, DATA, PADDED, 0, 0, 0, 1, 200, 7, 7]), 0);
        assert_eq!(data.among(&[0, 0, 2, DATA, 0, 0, 0, 0, 1, 7, 7]), 2);
    }
}
