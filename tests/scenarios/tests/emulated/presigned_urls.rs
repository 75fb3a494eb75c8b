//! Where ECR redirects a blob read to is good for a while, and nobody says for how long: another read asks ECR again.

use emulator::{Action, Fault, Image, Kind, Origin, image::raw_layer};
use scenarios::World;

use crate::support::{digits, pushed, watched};

#[tokio::test]
async fn a_read_that_goes_on_is_led_anew() {
    watched(async {
        let world = World::ecr(|destination| destination).await;
        let image = Image::builder().layer(raw_layer(1, 200_000)).build();
        image.push_to(world.source.store(), "team/app", "v1");
        world.destination.store().create_repository("mirror/team/app");
        let layer = digits(image.layers[0].digest());
        let cut = Fault::on(Kind::BlobGet).at(Origin::Blobs).path(layer).then(Action::CutResponseAfter(70_000));
        world.source.faults().add(cut);
        let mut function = world.function("on-push", &[]).await;
        let result = pushed(&mut function, "team/app", "v1", &image.digest).await;
        assert_eq!((&result["outcome"], &result["retries"]), (&"synced".into(), &1.into()), "{result}");
        assert_eq!(result["bytes"]["read"], result["bytes"]["written"], "no byte was read twice: {result}");
        world.destination.store().is_whole("mirror/team/app", "v1").unwrap();
        let reads = world.source.journal().of(Kind::BlobGet);
        let of_layer = reads.iter().filter(|read| read.path.contains(layer));
        let (led, read): (Vec<_>, Vec<_>) = of_layer.partition(|read| read.origin == Origin::Registry);
        assert!(led.iter().all(|read| read.status == 307), "{led:#?}");
        assert_eq!((led.len(), read.len()), (2, 2), "each read is with a URL of its own");
    })
    .await;
}
