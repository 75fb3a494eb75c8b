//! What a real registry refuses, or what is refused of it: each with an error that says what to do.

use scenarios::{
    Function, Layout, Outcome,
    layout::Shape,
    watchdog::watch,
    world::{SOURCE, push_event},
};
use serde_json::{Value, json};

use crate::ground::{Ends, LIMIT, push};

struct Refused {
    error_type: String,
    message: String,
}

/// What `on-push` says with the configuration as it is now.
async fn refused(ends: &Ends, layout: &Layout, login: &str) -> Refused {
    let config = ends.config.to_string();
    let mut function = Function::start("on-push", &[("TRANSSHIP_CONFIG", &config), ("LOGIN", login)]).await;
    let outcome = function.invoke(push_event("team/app", "v1", &layout.digest()), LIMIT).await;
    let Outcome::Err { error_type, message } = outcome else { panic!("{outcome:?}") };
    for line in function.lines() {
        assert!(!line.contains("hunter2"), "{line}");
    }
    Refused { error_type, message }
}

impl Refused {
    #[track_caller]
    fn is(&self, error_type: &str, parts: &[&str]) {
        assert_eq!(self.error_type, error_type, "{}", self.message);
        for part in parts {
            assert!(self.message.contains(part), "`{part}` is not in: {}", self.message);
        }
    }
}

async fn ends(tls: bool, locked: bool) -> (Ends, Layout) {
    let mut ends = Ends::start(tls, locked).await;
    ends.config["limits"] = json!({ "max_attempts": 2 });
    let layout = Layout::generate(&Shape::default());
    ends.source.remote().push(&layout, "team/app:v1").await;
    (ends, layout)
}

/// Nothing has come to the destination, not even an upload.
async fn assert_untouched(ends: &Ends) {
    ends.destination.settled().await;
    for method in ["POST", "PUT", "PATCH"] {
        assert_eq!(ends.destination.requests(method, ""), 0, "{method}");
    }
    assert!(ends.destination.remote().try_manifest("pushed/team/app:v1").await.is_err());
}

#[tokio::test]
async fn a_wrong_or_missing_password_is_named_at_either_end() {
    watch("a_wrong_or_missing_password_is_named_at_either_end", LIMIT, |_| async {
        let (mut ends, layout) = ends(true, true).await;
        let destination = ends.destination.host();
        refused(&ends, &layout, "robot:hunter2").await.is("Unauthorized", &[&destination, "pushed/team/app", "401"]);
        let right = ends.config["registries"][&destination].clone();
        ends.config["registries"][&destination].as_object_mut().unwrap().remove("credentials");
        let parts = [&destination, "pushed/team/app", "none are configured", "credentials"];
        refused(&ends, &layout, "robot:hunter2").await.is("Unauthorized", &parts);
        // The destination is let in, the source is not.
        ends.config["registries"][&destination] = right;
        ends.config["registries"][SOURCE]["credentials"] = json!("env:OTHER");
        let login = format!("{}:{}", crate::ground::USER, crate::ground::PASSWORD);
        refused(&ends, &layout, &login).await.is("Unauthorized", &[SOURCE, "team/app", "OTHER", "is not set"]);
        assert_untouched(&ends).await;
    })
    .await;
}

#[tokio::test]
async fn a_private_authority_that_is_not_configured_is_named_at_either_end() {
    watch("a_private_authority_that_is_not_configured_is_named_at_either_end", LIMIT, |_| async {
        let (mut ends, layout) = ends(true, false).await;
        for host in [ends.destination.host(), SOURCE.to_owned()] {
            let right = ends.config["registries"][&host].clone();
            ends.config["registries"][&host].as_object_mut().unwrap().remove("ca_certificate");
            let key = format!("registries.\"{host}\".ca_certificate");
            refused(&ends, &layout, "").await.is("InvalidConfig", &[&host, "team/app", "is not trusted", &key]);
            ends.config["registries"][&host] = right;
        }
        assert_untouched(&ends).await;
        let mut function = ends.function("on-push").await;
        let result = push(&mut function, "team/app", "v1", &layout.digest()).await;
        assert_eq!(result["outcome"], "synced", "{result}");
    })
    .await;
}

#[tokio::test]
async fn plain_http_that_is_not_allowed_is_refused_at_either_end() {
    watch("plain_http_that_is_not_allowed_is_refused_at_either_end", LIMIT, |_| async {
        let (mut ends, layout) = ends(false, false).await;
        for (host, endpoint) in [(ends.destination.host(), ends.destination.url()), (SOURCE.into(), ends.source.url())]
        {
            let right = ends.config["registries"][&host].clone();
            let set = |config: &mut Value, endpoint: &str| {
                let entry = config["registries"][&host].as_object_mut().unwrap();
                entry.remove("plain_http");
                entry.insert("endpoint".into(), json!(endpoint));
            };
            // Under https the registry does not answer; under http the function does not start.
            set(&mut ends.config, &endpoint.replace("http:", "https:"));
            let key = format!("registries.\"{host}\".plain_http");
            refused(&ends, &layout, "").await.is("InvalidConfig", &[&host, "does not speak TLS", &key]);
            set(&mut ends.config, &endpoint);
            let mut function = ends.function("on-push").await;
            let Err(Outcome::InitError { error_type, message }) = function.ready().await else { panic!("it started") };
            let path = format!("registries.{host}.endpoint: plain HTTP is refused");
            Refused { error_type, message }.is("InvalidConfig", &[&path, "plain_http"]);
            ends.config["registries"][&host] = right;
        }
        assert_untouched(&ends).await;
    })
    .await;
}

#[tokio::test]
async fn what_is_not_at_the_source_is_named() {
    watch("what_is_not_at_the_source_is_named", LIMIT, |_| async {
        let (ends, layout) = ends(false, false).await;
        let mut function = ends.function("on-push").await;
        for (repository, tag) in [("team/app", "v2"), ("team/none", "v1")] {
            let outcome = function.invoke(push_event(repository, tag, &layout.digest()), LIMIT).await;
            let Outcome::Err { error_type, message } = outcome else { panic!("{outcome:?}") };
            Refused { error_type, message }.is("SourceNotFound", &[SOURCE, repository, tag, "404"]);
        }
        assert_untouched(&ends).await;
    })
    .await;
}
