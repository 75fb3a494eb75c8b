//! Every kind of registry at either end: a three-platform image goes in and comes out, by the login of its kind.

use emulator::{Authorization, Builder, Image, Index, Kind, Origin, Personality, Registry, image::raw_layer};
use scenarios::{World, flows};
use serde_json::json;

use crate::support::{LIMIT, assert_children_first, logged_results, replicated};

/// A kind of registry, as its users meet it.
#[derive(Debug, Clone, Copy)]
struct Row {
    personality: Personality,
    /// A name of a repository as that kind has them.
    repository: &'static str,
    /// What has to be there before a push; none: a push makes it.
    before: Option<&'static str>,
    /// User and password; none: the function's own role.
    login: Option<(&'static str, &'static str)>,
}

/// The row of a personality. Passwords are made up, each in the place where the real one stands.
fn row(personality: Personality) -> Row {
    let row = |repository, before, login| Row { personality, repository, before, login };
    match personality {
        Personality::Plain => row("team/app", None, Some(("pusher", "a password: with a colon"))),
        Personality::Ecr => row("team/app", Some("team/app"), None),
        Personality::EcrPublic => row("alias/app", Some("alias/app"), None),
        Personality::Ghcr => row("octocat/app", None, Some(("octocat", "personal-access-token"))),
        Personality::Gar => {
            row("project/images/team/app", Some("project/images"), Some(("oauth2accesstoken", "access")))
        }
        Personality::Acr => row("team/app", None, Some(("00000000-0000-0000-0000-000000000000", "repository-token"))),
        Personality::DockerHub => row("acme/app", None, Some(("acme", "personal-access-token"))),
        Personality::Quay => row("org/app", None, Some(("org+robot", "robot-token"))),
        Personality::Harbor => row("project/app", Some("project/base"), Some(("robot$project+pusher", "robot-secret"))),
    }
}

/// Three platforms that share a base; one has a layer that some kinds don't take in one piece.
fn three_platforms() -> Index {
    let (base, large) = (raw_layer(1, 9_000), raw_layer(2, 21 << 20));
    let amd = Image::builder().platform("linux/amd64").layer(base.clone()).layer(large).build();
    let image = |seed, platform| {
        Image::builder().platform(platform).layer(base.clone()).layer(raw_layer(seed, 300_000)).build()
    };
    Index::of(&[&amd, &image(3, "linux/arm64/v8"), &image(4, "linux/arm/v7")])
}

fn builder(row: Row) -> Builder {
    // ECR Public's API knows repositories without it.
    let builder = Registry::builder(row.personality).alias("alias");
    match row.login {
        // The one kind that takes `Basic` at the registry itself.
        Some((user, password)) if row.personality == Personality::Plain => builder.basic(user, password),
        Some((user, password)) => builder.token_server(user, password),
        None => builder,
    }
}

/// Copies the image from one kind to another, and looks at what came.
async fn goes(from: Row, to: Row) {
    let index = three_platforms();
    let destination = match to.personality {
        Personality::Ecr => builder(to).account("222233334444").region("eu-west-1"),
        _ => builder(to),
    };
    let mut world = World::between(builder(from), destination).await;
    for (row, store) in [(from, world.source.store()), (to, world.destination.store())] {
        row.before.into_iter().for_each(|before| store.create_repository(before));
    }
    index.push_to(world.source.store(), from.repository, "v1");
    let logins =
        [from, to].map(|row| row.login.map(|(user, password)| json!({"username": user, "password": password})));
    let ends = [("SOURCE", world.source_host.clone()), ("DESTINATION", world.destination_host.clone())];
    let mut secrets = Vec::new();
    for ((name, host), login) in ends.into_iter().zip(logins) {
        let Some(login) = login else { continue };
        world.registry_config(&host).insert("credentials".into(), format!("env:LOGIN_{name}").into());
        secrets.push((format!("LOGIN_{name}"), login.to_string()));
    }
    let environment: Vec<_> = secrets.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut function = world.function("fanout", &environment).await;
    let reference = |host: &str, row: Row| format!("{host}/{}:v1", row.repository);
    let (source, destination) = (reference(&world.source_host, from), reference(&world.destination_host, to));

    let result = replicated(&world, &mut function, &source, &destination).await;
    let names = format!("{} to {}", from.personality.name(), to.personality.name());
    assert_eq!((&result["outcome"], &result["digest"]), (&json!("synced"), &json!(index.digest)), "{names}: {result}");
    assert_eq!((&result["retries"], &result["throttled"]), (&json!(0), &json!(0)), "{names}: {result}");
    let (here, there) = (world.source.store(), world.destination.store());
    there.is_whole(to.repository, "v1").unwrap();
    assert_eq!(there.tag(to.repository, "v1"), Some(index.digest.clone()), "{names}");
    assert_eq!(there.manifests(to.repository), here.manifests(from.repository), "{names}");
    for digest in here.manifests(from.repository) {
        assert_eq!(there.manifest(to.repository, &digest), here.manifest(from.repository, &digest), "{names}");
    }
    assert_eq!(there.blobs(to.repository), here.blobs(from.repository), "{names}");
    assert_children_first(there, to.repository, &index.digest);
    assert_eq!(world.destination.open_uploads(), 0, "{names}");
    for (row, registry) in [(from, &world.source), (to, &world.destination)] {
        assert_logged_in(row, registry, &names);
    }

    world.forget();
    assert_eq!(replicated(&world, &mut function, &source, &destination).await["outcome"], "current", "{names}");
    assert_eq!(world.destination.journal().of(Kind::ManifestHead).len(), world.destination.journal().len(), "{names}");
    assert_eq!(logged_results(&function).len(), 2);
}

/// Nothing was refused but the one request that asks how to log in, and what was taken came from somebody known.
fn assert_logged_in(row: Row, registry: &Registry, names: &str) {
    let asked = registry.journal().entries().into_iter().filter(|entry| entry.origin == Origin::Registry);
    let (refused, taken): (Vec<_>, Vec<_>) =
        asked.filter(|entry| entry.status != 404).partition(|entry| entry.status >= 400);
    // ECR's token is the API's, and is there from the first request on.
    let challenges = if row.personality == Personality::Ecr { 0 } else { 1 };
    assert_eq!(refused.len(), challenges, "{names}, at {}: {refused:#?}", row.personality.name());
    assert!(refused.iter().all(|entry| entry.status == 401), "{names}: {refused:#?}");
    let basic = matches!(row.personality, Personality::Ecr | Personality::Plain);
    let scheme = if basic { Authorization::Basic } else { Authorization::Bearer };
    let served = taken.iter().filter(|entry| entry.kind != Kind::Token);
    assert!(served.clone().count() > 0 && served.clone().all(|entry| entry.authorization == scheme), "{names}");
}

/// In from ECR and out to it; ECR itself from and to a registry of no special kind.
async fn in_and_out(personality: Personality) {
    let partner = if personality == Personality::Ecr { Personality::Plain } else { Personality::Ecr };
    for (from, to) in [(partner, personality), (personality, partner)] {
        flows::watched(LIMIT, Box::pin(goes(row(from), row(to)))).await;
    }
}

macro_rules! every_kind {
    ($($test:ident: $personality:ident),* $(,)?) => {
        $(#[tokio::test]
        async fn $test() {
            in_and_out(Personality::$personality).await;
        })*

        #[test]
        fn no_kind_is_left_out() {
            assert_eq!([$(Personality::$personality),*].len(), Personality::ALL.len());
        }
    };
}

every_kind! {
    generic: Plain,
    ecr: Ecr,
    ecr_public: EcrPublic,
    ghcr: Ghcr,
    artifact_registry: Gar,
    acr: Acr,
    docker_hub: DockerHub,
    quay: Quay,
    harbor: Harbor,
}

#[tokio::test]
async fn ecr_goes_to_ecr_of_another_account() {
    flows::watched(LIMIT, Box::pin(goes(row(Personality::Ecr), row(Personality::Ecr)))).await;
}
