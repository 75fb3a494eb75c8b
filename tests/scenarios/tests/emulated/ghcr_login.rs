//! GHCR's word for a wrong password is a denial, 403: it is the login that is wrong all the same, and no right.

use emulator::{Image, Kind, Personality};
use scenarios::{World, world::push_event};

use crate::support::{failed, pushed, watched};

#[tokio::test]
async fn a_wrong_password_is_named_and_a_secret_that_was_rotated_is_fetched_again() {
    watched(async {
        let mut world = World::to(Personality::Ghcr, |ghcr| ghcr.token_server("octocat", "new-token")).await;
        let host = world.destination_host.clone();
        world.registry_config(&host).insert("credentials".into(), "secretsmanager:ghcr".into());
        world.aws.secrets().put("ghcr", "octocat:old-token");
        let image = Image::small(1);
        image.push_to(world.source.store(), "team/app", "v1");
        let mut function = world.function("on-push", &[]).await;
        let (error_type, message) = failed(&mut function, push_event("team/app", "v1", &image.digest)).await;
        assert_eq!(error_type, "Denied", "{message}");
        for part in [host.as_str(), "mirror/team/app", "gave no token", "403", "check the credentials"] {
            assert!(message.contains(part), "`{part}` is not in: {message}");
        }
        assert!(!message.contains("old-token"), "{message}");
        assert!(world.destination.journal().count(Kind::Token) <= 2, "a wrong password is not tried over and over");

        // The same process has the old one in its memory.
        world.aws.secrets().put("ghcr", "octocat:new-token");
        assert_eq!(pushed(&mut function, "team/app", "v1", &image.digest).await["outcome"], "synced");
        assert_eq!(function.starts(), 1);
    })
    .await;
}
