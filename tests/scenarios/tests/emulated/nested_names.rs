//! Names of images with many parts, at either end.

use emulator::{Personality, Registry};
use scenarios::World;

use crate::support::{multi_platform, replicated, watched};

#[tokio::test]
async fn a_name_with_many_parts_is_taken_as_it_is() {
    watched(async {
        let name = "a/b/c/d";
        for to in [Personality::Ecr, Personality::Gar, Personality::Quay, Personality::Acr, Personality::Plain] {
            let source = Registry::builder(Personality::Harbor).open();
            let world = World::between(source, Registry::builder(to)).await;
            let index = multi_platform(1, &["linux/amd64", "linux/arm64"]);
            index.push_to(world.source.store(), name, "v1");
            world.destination.store().create_repository(&format!("{name}/e.f__g"));
            let mut function = world.function("fanout", &[]).await;
            let from = format!("{}/{name}:v1", world.source_host);
            let to_name = format!("{}/{name}/e.f__g:v1", world.destination_host);
            let result = replicated(&world, &mut function, &from, &to_name).await;
            assert_eq!(result["digest"], index.digest.as_str(), "{to:?}");
            world.destination.store().is_whole(&format!("{name}/e.f__g"), "v1").unwrap();
        }
    })
    .await;
}
