//! Where the configuration may be: in the environment, in a file beside the code, in an SSM parameter.

use emulator::Image;
use scenarios::{Outcome, World};

use crate::support::{pushed, watched};

async fn world() -> (World, Image) {
    let world = World::ecr(|destination| destination).await;
    let image = Image::small(1);
    image.push_to(world.source.store(), "team/app", "v1");
    world.destination.store().create_repository("mirror/team/app");
    (world, image)
}

#[tokio::test]
async fn the_configuration_may_be_a_secure_ssm_parameter() {
    watched(async {
        let (world, image) = world().await;
        world.aws.ssm().put_secure("/transship/config", &world.config.to_string());
        let mut function = world.function("on-push", &[("TRANSSHIP_CONFIG", "ssm:/transship/config")]).await;
        assert_eq!(pushed(&mut function, "team/app", "v1", &image.digest).await["outcome"], "synced");
        assert_eq!(pushed(&mut function, "team/app", "v1", &image.digest).await["outcome"], "current");
        assert_eq!(world.aws.count("ssm", "GetParameter"), 1, "read in the init phase alone");
    })
    .await;
}

#[tokio::test]
async fn the_configuration_may_be_a_file_beside_the_code() {
    watched(async {
        let (mut world, image) = world().await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        std::fs::write(folder.path().join("etc/ca.pem"), world.authority.pem()).unwrap();
        for host in [scenarios::world::SOURCE, scenarios::world::DESTINATION] {
            world.registry_config(host).insert("ca_certificate".into(), "file:etc/ca.pem".into());
        }
        std::fs::write(folder.path().join("etc/transship.json"), world.config.to_string()).unwrap();
        let root = folder.path().display().to_string();
        let env = [("TRANSSHIP_CONFIG", "file:etc/transship.json"), ("LAMBDA_TASK_ROOT", root.as_str())];
        let mut function = world.function("on-push", &env).await;
        assert_eq!(pushed(&mut function, "team/app", "v1", &image.digest).await["outcome"], "synced");
    })
    .await;
}

#[tokio::test]
async fn a_configuration_that_is_not_there_stops_the_init_phase_and_says_where_it_was_looked_for() {
    watched(async {
        let (world, _) = world().await;
        for (place, part) in [
            ("ssm:/transship/none", "/transship/none"),
            ("file:none.json", "none.json"),
            ("https://example.test/config", "ssm:NAME"),
            ("", "TRANSSHIP_CONFIG"),
        ] {
            let mut function = world.function("on-push", &[("TRANSSHIP_CONFIG", place)]).await;
            match function.ready().await {
                Err(Outcome::InitError { error_type, message }) => {
                    assert!(message.contains(part), "{place}: {error_type}: {message}");
                    assert!(message.contains("TRANSSHIP_CONFIG"), "{place}: {message}");
                }
                other => panic!("{place}: {other:?}"),
            }
        }
        assert_eq!(world.source.journal().len() + world.destination.journal().len(), 0);
    })
    .await;
}
