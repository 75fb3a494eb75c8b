//! X-Ray's trace header: what ties log lines of several invocations together.

use std::fmt;

/// A trace header, as Lambda hands it to an invocation and SQS carries it with a message.
///
/// Source: AWS X-Ray developer guide, "Tracing header".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceHeader(String);

/// The longest header that is taken. Chosen: `Root`, `Parent`, `Sampled` and `Lineage` take a third of it.
const MAX_BYTES: usize = 512;

impl TraceHeader {
    /// Reads a header; `None`: it is none, and SQS would refuse the message that carries it.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let plain = text.len() <= MAX_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic());
        let header = Self(text.to_owned());
        (plain && !header.id().is_empty()).then_some(header)
    }

    /// The header as it came.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of the trace (`1-67891233-abcdef012345678912345678`), which all that is done for one push shares.
    #[must_use]
    pub fn id(&self) -> &str {
        let root = self.0.split(';').find_map(|part| part.strip_prefix("Root="));
        root.filter(|id| is_id(id)).unwrap_or_default()
    }
}

impl fmt::Display for TraceHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A version, 8 digits of a time, 24 of a random number.
fn is_id(text: &str) -> bool {
    let digits = |part: &str, number: usize| part.len() == number && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    match text.split('-').collect::<Vec<_>>()[..] {
        ["1", time, random] => digits(time, 8) && digits(random, 24),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_headers_root_is_the_traces_id() {
        let id = "1-67891233-abcdef012345678912345678";
        for header in [
            format!("Root={id};Parent=53995c3f42cd8ad8;Sampled=1;Lineage=1:4af1:0"),
            format!("Sampled=0;Root={id}"),
            format!("Root={id}"),
        ] {
            assert_eq!(TraceHeader::read(&header).map(|read| read.id().to_owned()).as_deref(), Some(id), "{header}");
        }
    }

    #[test]
    fn what_sqs_would_refuse_is_no_header() {
        let id = "1-67891233-abcdef012345678912345678";
        let long = format!("Root={id};Lineage={}", "x".repeat(512));
        for none in ["", id, "Root=", "Root=1-6789-abc", "Root=2-67891233-abcdef012345678912345678", &long] {
            assert_eq!(TraceHeader::read(none), None, "{none}");
        }
        assert_eq!(TraceHeader::read(&format!("Root={id};Self=a b")), None);
    }
}
