//! A configuration that can't be used: the function does not start, and says where the mistake is.

use std::fs;

use emulator::{Authority, aws::Aws};
use scenarios::{Function, watchdog::watch};
use serde_json::{Value, json};

use crate::ground::{LIMIT, Refusal, assert_no_secret_is_told};

/// What a function that starts with these variables says.
async fn not_started(binary: &str, env: &[(&str, &str)]) -> Refusal {
    let mut function = Function::start(binary, env).await;
    let refusal = Refusal::of(function.ready().await.expect_err("the function does not start"));
    assert_no_secret_is_told(&function, &[]);
    refusal
}

async fn refused_config(config: &Value) -> Refusal {
    let text = config.to_string();
    not_started("on-push", &[("TRANSSHIP_CONFIG", text.as_str())]).await
}

fn rule(change: Value) -> Value {
    let mut rule = json!({ "destinations": ["ghcr.io/acme/{repository}:{tag}"] });
    rule.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    json!({ "rules": [rule] })
}

fn registry(settings: Value) -> Value {
    json!({ "registries": { "registry.example.test:5000": settings } })
}

#[tokio::test]
async fn a_key_that_is_not_known_stops_the_function_with_its_json_path() {
    watch("a_key_that_is_not_known_stops_the_function_with_its_json_path", LIMIT, |_| async {
        for (config, path, key) in [
            (json!({ "rule": [] }), "", "`rule`"),
            (rule(json!({ "destination": "x" })), "rules[0]", "`destination`"),
            (rule(json!({ "source": { "repo": "x" } })), "rules[0].source", "`repo`"),
            (rule(json!({ "tags": { "includes": [] } })), "rules[0].tags", "`includes`"),
            (registry(json!({ "user": "x" })), "registries.registry.example.test:5000", "`user`"),
            (json!({ "limits": { "buffer": 1 } }), "limits", "`buffer`"),
        ] {
            let refusal = refused_config(&config).await;
            refusal.is("InvalidConfig", &["the configuration can't be used", path, key, "expected"]);
        }
    })
    .await;
}

#[tokio::test]
async fn values_that_make_no_sense_are_all_named_at_once() {
    watch("values_that_make_no_sense_are_all_named_at_once", LIMIT, |_| async {
        let mut config = rule(json!({
            "source": { "registry": "nohost", "repository": "team/[a" },
            "tags": { "include": ["v*", "{v"], "exclude": [""], "semver": "latest" },
            "destinations": ["ghcr.io/Acme/app:{tag}", "acme/app", "ghcr.io/acme/{repo}", "ghcr.io/acme/app:{tag"],
        }));
        config["registries"] = json!({
            "127.0.0.1:5000": { "endpoint": "http://127.0.0.1:5000" },
            "127.0.0.1:5001": { "endpoint": "https://127.0.0.1:5001", "plain_http": true },
            "127.0.0.1:5002": { "endpoint": "https://user:hunter2@127.0.0.1:5002/v2" },
            "127.0.0.1:5003": { "credentials": "user:hunter2", "redirects": ["objects.example.test"], "streams": 0 },
            "127.0.0.1:5004": { "provider": "ecr" },
            "127.0.0.1:5005": { "ca_certificate": "no PEM", "external_id": "x" },
            "127.0.0.1:5006": { "create_repository": {} },
            "no host": {},
        });
        config["limits"] = json!({ "max_attempts": 0, "request_timeout_ms": 1 });
        let refusal = refused_config(&config).await;
        assert!(!refusal.message.contains("hunter2"), "{}", refusal.message);
        refusal.is(
            "InvalidConfig",
            &[
                "rules[0].source.registry: `nohost`",
                "rules[0].source.repository: `team/[a` is no glob",
                "rules[0].tags.include[1]: `{v` is no glob",
                "rules[0].tags.exclude[0]",
                "rules[0].tags.semver: `latest` is no range",
                "rules[0].destinations[0]: `ghcr.io/Acme/app",
                "rules[0].destinations[1]: `acme/app` must begin with a registry host",
                "rules[0].destinations[2]: `{repo}` is none of {registry}, {repository}",
                "rules[0].destinations[3]",
                "registries.127.0.0.1:5000.endpoint: plain HTTP is refused; use https, or set plain_http",
                "registries.127.0.0.1:5001.endpoint: is https, but plain_http is true",
                "registries.127.0.0.1:5002.endpoint: expected scheme, host and port alone",
                "registries.127.0.0.1:5003.credentials: expected secretsmanager:ARN-OR-NAME or env:NAME",
                "registries.127.0.0.1:5003.redirects[0]: expected HOST:PORT",
                "registries.127.0.0.1:5003.streams: 0 is out of range; expected 1 to 256",
                "registries.127.0.0.1:5004: account",
                "registries.127.0.0.1:5005.ca_certificate",
                "registries.127.0.0.1:5005.external_id: goes with role_arn",
                "registries.127.0.0.1:5006.create_repository: only ECR registries have it",
                "registries.no host: is no registry host",
                "limits.max_attempts: 0 is out of range; expected 1 to 20",
                "limits.request_timeout_ms: 1 is out of range",
            ],
        );
    })
    .await;
}

#[tokio::test]
async fn text_that_is_no_configuration_stops_the_function_and_is_not_repeated() {
    watch("text_that_is_no_configuration_stops_the_function_and_is_not_repeated", LIMIT, |_| async {
        for (text, part) in [
            ("{", "EOF"),
            ("{} {}", "trailing"),
            (r#"{"rules": {}}"#, "rules"),
            (r#"{"rules": [{"destinations": "x"}]}"#, "rules[0].destinations"),
            (r#"{"rules": [{"destinations": ["ghcr.io/a"], "existing_tag": "move"}]}"#, "rules[0].existing_tag"),
            ("hunter2", "no known form: expected JSON text"),
            ("https://config.example.test", "no known form: expected JSON text"),
        ] {
            let refusal = not_started("on-push", &[("TRANSSHIP_CONFIG", text)]).await;
            assert!(!refusal.message.contains("hunter2"), "{}", refusal.message);
            refusal.is("InvalidConfig", &[part]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_configuration_that_is_not_there_is_named_by_its_place() {
    watch("a_configuration_that_is_not_there_is_named_by_its_place", LIMIT, |_| async {
        for binary in ["on-push", "fanout"] {
            not_started(binary, &[]).await.is("InvalidConfig", &["TRANSSHIP_CONFIG is not set", "`file:PATH`"]);
        }
        not_started("on-push", &[("TRANSSHIP_CONFIG", "")]).await.is("InvalidConfig", &["is not set"]);
        let refusal = not_started("on-push", &[("TRANSSHIP_CONFIG", "file:conf/none.json")]).await;
        refusal.is("InvalidConfig", &["TRANSSHIP_CONFIG", "conf/none.json", "No such file"]);

        let aws = Aws::start(Vec::new()).await;
        let url = aws.url();
        let env = [("TRANSSHIP_CONFIG", "ssm:/transship/none"), ("AWS_ENDPOINT_URL", url.as_str())];
        let refusal = not_started("on-push", &env).await;
        assert!(["InvalidConfig", "Unauthorized"].contains(&refusal.error_type.as_str()), "{refusal:?}");
        assert!(refusal.message.contains("the SSM parameter /transship/none"), "{refusal:?}");
        aws.ssm().put("/transship/bad", "{\"rule\": []}");
        let env = [("TRANSSHIP_CONFIG", "ssm:/transship/bad"), ("AWS_ENDPOINT_URL", url.as_str())];
        not_started("on-push", &env).await.is("InvalidConfig", &["`rule`"]);
    })
    .await;
}

#[tokio::test]
async fn a_certificate_file_that_cannot_be_read_stops_the_function() {
    watch("a_certificate_file_that_cannot_be_read_stops_the_function", LIMIT, |_| async {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_str().unwrap();
        let config = registry(json!({ "ca_certificate": "file:ca.pem" })).to_string();
        let env = [("TRANSSHIP_CONFIG", config.as_str()), ("LAMBDA_TASK_ROOT", root)];
        let path = "registries.registry.example.test:5000.ca_certificate";
        not_started("on-push", &env).await.is("InvalidConfig", &[path, "ca.pem", "can't be read", "No such file"]);
        fs::write(folder.path().join("ca.pem"), "no PEM").unwrap();
        not_started("on-push", &env).await.is("InvalidConfig", &[path, "it holds no certificate"]);
        fs::write(folder.path().join("ca.pem"), Authority::new().pem()).unwrap();
        Function::start("on-push", &env).await.ready().await.unwrap();
    })
    .await;
}
