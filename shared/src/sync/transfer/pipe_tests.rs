use http_body_util::{BodyExt, StreamBody};

use super::*;

fn source(frames: Vec<Result<&'static [u8], &'static str>>) -> BoxBody<Bytes, Failure> {
    let frames = frames.into_iter().map(|frame| match frame {
        Ok(bytes) => Ok(Frame::data(Bytes::from_static(bytes))),
        Err(text) => Err(text.into()),
    });
    BodyExt::boxed(StreamBody::new(futures::stream::iter(frames.collect::<Vec<_>>())))
}

fn blob(content: &[u8]) -> Blob {
    Blob { digest: Digest::of(content), size: content.len() as u64, foreign: false }
}

/// What leaves the body before its end or failure, and why it failed.
async fn drain(body: VerifiedBody, watch: &Watch) -> (Vec<u8>, Option<Broken>) {
    let mut body = Box::pin(body);
    let mut passed = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => passed.extend_from_slice(&frame.into_data().unwrap()),
            Err(_) => return (passed, watch.broken()),
        }
    }
    (passed, None)
}

async fn pass(content: &[u8], frames: Vec<Result<&'static [u8], &'static str>>) -> (Vec<u8>, Option<Broken>) {
    let (body, watch) = VerifiedBody::new(source(frames), &blob(content), Arc::default());
    drain(body, &watch).await
}

#[tokio::test]
async fn right_bytes_pass_whole() {
    assert_eq!(pass(b"abcdef", vec![Ok(b"ab"), Ok(b""), Ok(b"cde"), Ok(b"f")]).await, (b"abcdef".to_vec(), None));
    assert_eq!(pass(b"", vec![]).await, (Vec::new(), None));
}

#[tokio::test]
async fn one_byte_short_never_ends_well() {
    let (passed, broken) = pass(b"abcdef", vec![Ok(b"ab"), Ok(b"cde")]).await;
    assert!(passed.len() < 6, "the destination had all it was promised");
    assert!(matches!(broken, Some(Broken::Mismatch(text)) if text.contains("5 of the 6")));
}

#[tokio::test]
async fn one_byte_long_never_ends_well() {
    for frames in [vec![Ok(&b"abc"[..]), Ok(b"defg")], vec![Ok(b"abc"), Ok(b"def"), Ok(b"g")]] {
        let (passed, broken) = pass(b"abcdef", frames).await;
        assert!(passed.len() < 6);
        assert!(matches!(broken, Some(Broken::Mismatch(text)) if text.contains("more than the 6 bytes")));
    }
}

#[tokio::test]
async fn one_bit_wrong_never_ends_well() {
    let (passed, broken) = pass(b"abcdef", vec![Ok(b"abc"), Ok(b"dEf")]).await;
    assert!(passed.len() < 6);
    assert!(matches!(broken, Some(Broken::Mismatch(_))));
}

#[tokio::test]
async fn a_source_that_fails_is_told_from_wrong_bytes() {
    let (_, broken) = pass(b"abcdef", vec![Ok(b"abc"), Err("reset")]).await;
    assert_eq!(broken, Some(Broken::Source(Error::new(ErrorType::Unavailable, "reset"))));
}

#[tokio::test]
async fn the_length_that_is_announced_is_exact() {
    let (body, _) = VerifiedBody::new(source(vec![Ok(b"abcdef")]), &blob(b"abcdef"), Arc::default());
    assert_eq!(body.size_hint().exact(), Some(6));
}
