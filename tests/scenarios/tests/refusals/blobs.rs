//! A blob that is not what its manifest says: never committed, whatever the protocol, the size or the lie.

use emulator::{Action, Builder, Fault, Image, Kind, Personality, Registry, image};
use scenarios::{World, watchdog::watch, world::DESTINATION};

use crate::ground::{LIMIT, MIRROR, REPOSITORY, impatient, pushed, refused, synced};

/// One frame, and many.
const SIZES: [usize; 2] = [700, 3 << 20];

/// How a registry spoils a blob of `size` bytes, and what that has to be called.
fn lies(size: u64) -> Vec<(&'static str, Vec<Action>, &'static str, &'static str)> {
    let length = |size: u64| Action::Header { name: "content-length".into(), value: size.to_string() };
    let (short, no_length) = (Action::TruncateBody(size - 1), Action::NoContentLength);
    vec![
        ("short, as announced", vec![short.clone()], "DigestMismatch", "the manifest says"),
        ("short, unannounced", vec![short.clone(), no_length.clone()], "DigestMismatch", "the manifest says"),
        // A promise that is broken can't be told from a connection that is: it is tried again, and then fails.
        ("short of its length", vec![short, no_length.clone(), length(size)], "Unavailable", "reading blob"),
        // Cut anywhere else, the next read goes on from there, and the blob gets through whole.
        ("always cut at once", vec![Action::CutResponseAfter(0)], "Unavailable", "reading blob"),
        ("empty", vec![Action::TruncateBody(0), no_length.clone()], "DigestMismatch", "the manifest says"),
        ("long, as announced", vec![Action::ExtraByte], "DigestMismatch", "the manifest says"),
        ("long, unannounced", vec![Action::ExtraByte, no_length.clone()], "DigestMismatch", "more than the"),
        ("first bit wrong", vec![Action::CorruptByte(0)], "DigestMismatch", "have the digest sha256:"),
        ("middle bit wrong", vec![Action::CorruptByte(size / 2)], "DigestMismatch", "have the digest sha256:"),
        ("last bit wrong", vec![Action::CorruptByte(size - 1), no_length], "DigestMismatch", "have the digest sha256:"),
    ]
}

async fn spoilt_blobs_are_refused(source: fn(Builder) -> Builder, destination: Builder) {
    let ecr = destination.account("222233334444").region("eu-west-1");
    let mut world = World::build(source, ecr, Some(DESTINATION)).await;
    world.destination.store().create_repository(MIRROR);
    impatient(&mut world);
    let mut function = world.function("on-push", &[]).await;
    for size in SIZES {
        let tag = format!("v{size}");
        let image = Image::builder().layer(image::raw_layer(size as u64, size)).build();
        image.push_to(world.source.store(), REPOSITORY, &tag);
        let (digest, size) = (image.layers[0].digest(), size as u64);
        for (lie, actions, error_type, part) in lies(size) {
            let fault = Fault::on(Kind::BlobGet).path(&digest[7..]).forever();
            let fired = world.source.faults().add(actions.into_iter().fold(fault, Fault::then));
            let refusal = refused(&world, &mut function, pushed(&tag, &image.digest)).await;
            assert!(fired.count() > 0, "{lie}");
            let refusal = refusal.is(error_type, &[digest, "111122223333", "team/app", part]);
            assert!(!world.destination.store().has_blob(MIRROR, digest), "{lie}: {refusal:?}");
            let sent = world.destination.journal().of(Kind::UploadPut);
            let put =
                sent.iter().filter(|entry| entry.query.as_ref().is_some_and(|query| query.contains(&digest[7..])));
            let most = put.map(|entry| entry.request_bytes).max().unwrap_or(0);
            assert!(most < size, "{lie}: the destination was sent {most} of {size} bytes");
            world.source.faults().clear();
        }
        synced(&mut function, pushed(&tag, &image.digest)).await;
        world.destination.store().is_whole(MIRROR, &tag).unwrap();
    }
    let http2 = world.source.journal().entries().iter().all(|entry| entry.http2);
    let http1 = world.source.journal().entries().iter().all(|entry| !entry.http2);
    assert!(http1 || http2, "one protocol is what was asked for");
}

#[tokio::test]
async fn spoilt_blobs_behind_a_redirect_are_refused_over_http2() {
    watch("spoilt_blobs_behind_a_redirect_are_refused_over_http2", LIMIT, |_| {
        spoilt_blobs_are_refused(|source| source, Registry::builder(Personality::Ecr))
    })
    .await;
}

#[tokio::test]
async fn spoilt_blobs_behind_a_redirect_are_refused_over_http1() {
    watch("spoilt_blobs_behind_a_redirect_are_refused_over_http1", LIMIT, |_| {
        spoilt_blobs_are_refused(Builder::http1_only, Registry::builder(Personality::Ecr).http1_only())
    })
    .await;
}

#[tokio::test]
async fn spoilt_blobs_of_a_plain_registry_are_refused_over_http2() {
    watch("spoilt_blobs_of_a_plain_registry_are_refused_over_http2", LIMIT, |_| {
        spoilt_blobs_are_refused(|_| Registry::builder(Personality::Plain), Registry::builder(Personality::Ecr))
    })
    .await;
}

#[tokio::test]
async fn spoilt_blobs_of_a_plain_registry_are_refused_over_http1() {
    watch("spoilt_blobs_of_a_plain_registry_are_refused_over_http1", LIMIT, |_| {
        let source = |_| Registry::builder(Personality::Plain).http1_only();
        spoilt_blobs_are_refused(source, Registry::builder(Personality::Ecr).http1_only())
    })
    .await;
}

#[tokio::test]
async fn bytes_kept_under_a_wrong_digest_are_refused_by_every_kind_of_upload() {
    watch("bytes_kept_under_a_wrong_digest_are_refused_by_every_kind_of_upload", LIMIT, |_| async {
        // One PUT, one PATCH, PATCHes of a fixed size.
        for personality in [Personality::Plain, Personality::Gar, Personality::Ghcr, Personality::Acr] {
            let mut world = World::to(personality, |destination| destination.open()).await;
            world.destination.store().create_repository(MIRROR);
            impatient(&mut world);
            let mut function = world.function("on-push", &[]).await;
            for size in SIZES {
                let tag = format!("v{size}");
                let image = Image::builder().layer(image::raw_layer(size as u64, size)).build();
                image.push_to(world.source.store(), REPOSITORY, &tag);
                let (digest, bytes) = (image.layers[0].digest(), image.layers[0].bytes().unwrap());
                let mut flipped = bytes.to_vec();
                flipped[size / 3] ^= 4;
                let longer = [&bytes[..], b"!"].concat();
                for spoilt in [bytes[..size - 1].to_vec(), longer, flipped] {
                    world.source.store().put_raw_blob(REPOSITORY, digest, spoilt);
                    let refusal = refused(&world, &mut function, pushed(&tag, &image.digest)).await;
                    refusal.is("DigestMismatch", &[digest, "111122223333.dkr.ecr", "team/app"]);
                    assert!(!world.destination.store().has_blob(MIRROR, digest), "{personality:?}");
                }
                world.source.store().put_raw_blob(REPOSITORY, digest, bytes);
                synced(&mut function, pushed(&tag, &image.digest)).await;
                world.destination.store().is_whole(MIRROR, &tag).unwrap();
            }
        }
    })
    .await;
}
