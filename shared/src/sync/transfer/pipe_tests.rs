use std::time::Duration;

use http_body_util::{BodyExt, StreamBody};

use super::*;
use crate::{
    deadline::Deadline,
    limits::{ByteBudget, CopyLimits, Quota, StreamCap},
};

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

/// Leave for a copy that may hold a mebibyte.
async fn leave() -> Admitted {
    let (quota, budget) = (Quota::new(None, 8), ByteBudget::new(64 * 1024 * 1024));
    let (source, destination) = (StreamCap::new(1), StreamCap::new(1));
    let limits = CopyLimits {
        reads: &quota,
        starts: &quota,
        uploads: &quota,
        source: &source,
        destination: &destination,
        budget: &budget,
    };
    limits.admit(1024 * 1024, &Deadline::after(Duration::from_secs(60))).await.unwrap()
}

async fn pass(content: &[u8], frames: Vec<Result<&'static [u8], &'static str>>) -> (Vec<u8>, Option<Broken>) {
    let (body, watch) = VerifiedBody::new(
        source(frames),
        &blob(content),
        Arc::default(),
        leave().await,
        1024,
        Mark::start(&blob(content)),
    );
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
    let (body, _) = VerifiedBody::new(
        source(vec![Ok(b"abcdef")]),
        &blob(b"abcdef"),
        Arc::default(),
        leave().await,
        9,
        Mark::start(&blob(b"abcdef")),
    );
    assert_eq!(body.size_hint().exact(), Some(6));
}

#[tokio::test]
async fn no_more_is_taken_than_the_pipe_holds_until_the_receiver_has_let_go() {
    let frames: Vec<_> = (0..6).map(|_| Ok(&b"0123456789"[..])).collect();
    let content = b"0123456789".repeat(6);
    let leave = leave().await;
    let (body, _) = VerifiedBody::new(
        source(frames),
        &blob(&content),
        Arc::default(),
        leave.clone(),
        25,
        Mark::start(&blob(&content)),
    );
    let mut body = Box::pin(body);
    let mut taken = Vec::new();
    // Three frames: the third leaves while less than the limit is on its way.
    for _ in 0..3 {
        taken.push(body.frame().await.unwrap().unwrap().into_data().unwrap());
    }
    assert!(futures::FutureExt::now_or_never(body.frame()).is_none(), "a full pipe gives no more");
    assert_eq!(leave.lease().in_flight(), 40, "what is on its way, and the frame that is held back");
    taken.clear();
    let mut rest = 0;
    while let Some(frame) = body.frame().await {
        rest += frame.unwrap().into_data().unwrap().len();
    }
    assert_eq!(rest, 30);
}

#[tokio::test]
async fn a_body_may_begin_behind_what_was_sent_with_the_sum_of_that() {
    let content = b"abcdefghij";
    let frames = vec![Ok(&b"abc"[..]), Ok(b"def"), Ok(b"ghij")];
    let start = Mark::start(&blob(content));
    let (body, watch) = VerifiedBody::new(source(frames), &blob(content), Arc::default(), leave().await, 1024, start);
    let mut body = Box::pin(body);
    for _ in 0..2 {
        body.frame().await.unwrap().unwrap();
    }
    assert!(watch.mark(2).is_none(), "that frame is long gone");
    assert_eq!(watch.mark(6).map(|mark| mark.offset), Some(6));
    let mark = watch.mark(5).unwrap();
    assert_eq!(mark.offset, 3, "the last frame can't be cut in the sum");
    for (rest, good) in [(&b"defghij"[..], true), (b"defghiJ", false)] {
        let frames = vec![Ok(&rest[..4]), Ok(&rest[4..])];
        let (body, watch) =
            VerifiedBody::new(source(frames), &blob(content), Arc::default(), leave().await, 1024, mark.clone());
        assert_eq!(body.size_hint().exact(), Some(7));
        let (passed, broken) = drain(body, &watch).await;
        assert_eq!((passed == b"defghij", broken.is_none()), (good, good));
    }
}
