//! A destination that takes a manifest as something else than was put.

use emulator::{Action, Fault, Image, Index, Kind, digest::sha256};
use scenarios::{World, watchdog::watch};

use crate::ground::{LIMIT, MIRROR, REPOSITORY, Refusal, assert_no_secret_is_told, pushed, synced};

#[tokio::test]
async fn a_destination_that_answers_another_digest_is_an_error_and_the_tag_of_an_index_is_not_put() {
    let name = "a_destination_that_answers_another_digest_is_an_error_and_the_tag_of_an_index_is_not_put";
    watch(name, LIMIT, |_| async {
        let world = World::ecr(|destination| destination).await;
        world.destination.store().create_repository(MIRROR);
        let (one, two) = (Image::small(1), Image::small(2));
        let index = Index::of(&[&one, &two]);
        index.push_to(world.source.store(), REPOSITORY, "index");
        one.push_to(world.source.store(), REPOSITORY, "single");
        let lie = sha256(b"something else");
        let header = Action::Header { name: "docker-content-digest".into(), value: lie.clone() };
        world.destination.faults().add(Fault::on(Kind::ManifestPut).forever().then(header));
        let mut function = world.function("on-push", &[]).await;

        let refusal = Refusal::of(function.invoke(pushed("index", &index.digest), LIMIT).await);
        let parts = ["putting manifest", "222233334444.dkr.ecr", "mirror/team/app", "took it as", &lie];
        refusal.is("DigestMismatch", &parts);
        assert_eq!(world.destination.store().tags(MIRROR), Vec::<String>::new(), "the index had not its turn");
        assert!(world.destination.store().manifest(MIRROR, &index.digest).is_none());

        let refusal = Refusal::of(function.invoke(pushed("single", &one.digest), LIMIT).await);
        refusal.is("DigestMismatch", &[&parts[..], &[&one.digest]].concat());
        assert_no_secret_is_told(&function, &[]);

        world.destination.faults().clear();
        synced(&mut function, pushed("index", &index.digest)).await;
        world.destination.store().is_whole(MIRROR, "index").unwrap();
    })
    .await;
}
