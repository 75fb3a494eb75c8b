use super::*;
use crate::settings::{ConfigSource, TagMutability};

fn environment(memory: &'static str) -> Environment {
    Environment::from(&|name| (name == "AWS_LAMBDA_FUNCTION_MEMORY_SIZE").then(|| memory.to_owned()))
}

fn parse(text: &str) -> Result<Config, Error> {
    Config::parse(text, &environment("1769"))
}

/// The message of a configuration that can't be used.
fn mistakes(text: &str) -> String {
    let error = parse(text).unwrap_err();
    assert_eq!(error.error_type, ErrorType::InvalidConfig);
    error.message
}

#[test]
fn unknown_keys_are_named_with_their_path() {
    for (text, path, key) in [
        (r#"{"rule":[]}"#, "rule", "rule"),
        (r#"{"rules":[{"destinations":["ghcr.io/a/b"],"tag":1}]}"#, "rules[0]", "tag"),
        (r#"{"registries":{"ghcr.io":{"credential":"x"}}}"#, "registries.ghcr.io", "credential"),
        (r#"{"limits":{"buffers":1}}"#, "limits", "buffers"),
    ] {
        let message = mistakes(text);
        assert!(message.contains(path) && message.contains(key) && message.contains("expected"), "{message}");
    }
}

#[test]
fn all_mistakes_are_said_at_once() {
    let message = mistakes(
        r#"{"rules":[{"source":{"repository":"team/["},"tags":{"include":["{a"],"semver":"newest"},
                      "destinations":["alpine","ghcr.io/a/{nobody}"]},
                     {"destinations":[]}],
            "registries":{"ghcr.io":{"credentials":"hunter2","streams":0},
                          "local:5000":{"endpoint":"http://127.0.0.1:5000"},
                          "x.test":{"role_arn":"me","redirects":["host"]},
                          "y.test:1":{"redirects":["https://s3.test:9000"]},
                          "333344445555.dkr.ecr.us-east-1.amazonaws.com":{"create_repository":
                            {"tag_mutability":"MUTABLE","tag_mutability_exclusions":["v*"],
                             "encryption":{"type":"AES256","kms_key":"k"}}},
                          "ecr.test":{"provider":"ecr"}},
            "limits":{"blob_concurrency":0,"max_attempts":1000}}"#,
    );
    for path in [
        "rules[0].source.repository",
        "rules[0].tags.include[0]",
        "rules[0].tags.semver",
        "rules[0].destinations[0]",
        "rules[0].destinations[1]",
        "rules[1].destinations",
        "registries.ghcr.io.credentials",
        "registries.ghcr.io.streams",
        "registries.local:5000.endpoint",
        "registries.x.test.role_arn",
        "registries.x.test.redirects[0]",
        "registries.y.test:1.redirects[0]",
        "create_repository.tag_mutability_exclusions",
        "create_repository.encryption.kms_key",
        "registries.ecr.test: account",
        "limits.blob_concurrency",
        "limits.max_attempts",
    ] {
        assert!(message.contains(path), "{path} is missing in: {message}");
    }
    assert!(!message.contains("hunter2"), "a secret in the wrong place must not be repeated");
}

#[test]
fn plain_http_has_to_be_asked_for() {
    assert!(mistakes(r#"{"registries":{"a.test":{"endpoint":"http://a.test"}}}"#).contains("plain HTTP is refused"));
    let config = parse(r#"{"registries":{"a.test":{"plain_http":true}}}"#).unwrap();
    assert_eq!(config.registry("a.test").endpoint.as_str(), "http://a.test/");
    assert!(mistakes(r#"{"registries":{"a.test":{"endpoint":"https://a.test","plain_http":true}}}"#).contains("drop"));
}

#[test]
fn a_registry_is_known_by_its_host_alone_or_by_what_is_configured() {
    let config = parse(
        r#"{"registries":{"Registry.Example.test:5000":{"provider":"ecr","account":"111122223333","region":"eu-west-1"},
                          "444455556666.dkr.ecr.us-east-1.amazonaws.com":{"provider":"generic"}}}"#,
    )
    .unwrap();
    let odd = config.registry("registry.example.test:5000");
    assert_eq!((odd.provider, odd.ecr.unwrap().region), (Provider::Ecr, "eu-west-1".to_owned()));
    let plain = config.registry("444455556666.dkr.ecr.us-east-1.amazonaws.com");
    assert!(!plain.speaks_ecr() && plain.ecr.is_none(), "any other provider switches ECR's API off");
    let hub = config.registry("docker.io");
    assert_eq!((hub.provider, hub.endpoint.as_str()), (Provider::DockerHub, "https://registry-1.docker.io/"));
    assert_eq!(hub.streams, 64);
}

#[test]
fn every_spelling_of_a_host_is_known_for_what_it_is() {
    let config = parse("{}").unwrap();
    let ecr = "111122223333.dkr.ecr.us-east-1.amazonaws.com";
    for host in [ecr, &ecr.to_uppercase(), &format!("{ecr}."), &format!("{ecr}:443"), &format!("{ecr}:8443")] {
        let registry = config.registry(host);
        assert_eq!(registry.provider, Provider::Ecr, "{host}");
        assert!(registry.speaks_ecr() && registry.ecr.is_some(), "{host} would be asked as nobody");
    }
    assert_eq!(config.registry(&format!("{ecr}:443")).host, ecr);
    for (host, provider, endpoint) in [
        ("docker.io", Provider::DockerHub, "https://registry-1.docker.io/"),
        ("Index.Docker.io", Provider::DockerHub, "https://registry-1.docker.io/"),
        ("registry-1.docker.io:443", Provider::DockerHub, "https://registry-1.docker.io/"),
        ("registry.hub.docker.com", Provider::DockerHub, "https://registry-1.docker.io/"),
        ("ghcr.io:443", Provider::Ghcr, "https://ghcr.io/"),
        ("Public.ECR.aws.", Provider::EcrPublic, "https://public.ecr.aws/"),
        ("gcr.io", Provider::Gar, "https://gcr.io/"),
        ("us.gcr.io", Provider::Gar, "https://us.gcr.io/"),
        ("europe-west1-docker.pkg.dev:443", Provider::Gar, "https://europe-west1-docker.pkg.dev/"),
        ("acme.azurecr.io", Provider::Acr, "https://acme.azurecr.io/"),
        ("acme.azurecr.cn", Provider::Acr, "https://acme.azurecr.cn/"),
        ("ACME.azurecr.us", Provider::Acr, "https://acme.azurecr.us/"),
        ("quay.io.", Provider::Quay, "https://quay.io/"),
        ("quay.example.test:443", Provider::Generic, "https://quay.example.test/"),
        ("ecr.us-east-1.on.aws", Provider::Generic, "https://ecr.us-east-1.on.aws/"),
    ] {
        let registry = config.registry(host);
        assert_eq!((registry.provider, registry.endpoint.as_str()), (provider, endpoint), "{host}");
    }
    let config = parse(r#"{"registries":{"a.test:443":{"plain_http":true}}}"#).unwrap();
    assert_eq!(config.registry("a.test").endpoint.as_str(), "http://a.test:443/");
    assert!(mistakes(r#"{"registries":{"ghcr.io":{},"ghcr.io:443":{}}}"#).contains("another key names too"));
}

/// The mistakes of these settings, as `create_repository` of this host.
fn creating(host: &str, settings: &str) -> Option<String> {
    let text = format!(r#"{{"registries":{{"{host}":{{"create_repository":{settings}}}}}}}"#);
    parse(&text).err().map(|error| error.message)
}

#[test]
fn what_ecr_would_refuse_of_a_new_repository_is_refused_at_once() {
    let ecr = "111122223333.dkr.ecr.us-east-1.amazonaws.com";
    let long = |count: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(count - 8));
    for good in [
        r#"{"lifecycle_policy":{"rules":[]},"repository_policy":"{\"Statement\":[]}"}"#,
        r#"{"tag_mutability":"IMMUTABLE_WITH_EXCLUSION","tag_mutability_exclusions":["latest","dev-*","*.x-*"]}"#,
        &format!(r#"{{"lifecycle_policy":{},"repository_policy":{}}}"#, long(30_720), long(10_240)),
    ] {
        assert_eq!(creating(ecr, good), None, "{good:.60}");
    }
    let filter =
        |text: &str| format!(r#"{{"tag_mutability":"MUTABLE_WITH_EXCLUSION","tag_mutability_exclusions":["{text}"]}}"#);
    for (bad, path) in [
        (r#"{"lifecycle_policy":"rules"}"#.to_owned(), "lifecycle_policy"),
        (r#"{"lifecycle_policy":"[]"}"#.to_owned(), "lifecycle_policy"),
        (r#"{"lifecycle_policy":[]}"#.to_owned(), "lifecycle_policy"),
        (format!(r#"{{"lifecycle_policy":{}}}"#, long(30_721)), "lifecycle_policy"),
        (format!(r#"{{"repository_policy":{}}}"#, long(10_241)), "repository_policy"),
        (filter("v+"), "tag_mutability_exclusions"),
        (filter(""), "tag_mutability_exclusions"),
        (filter("*a*b*"), "tag_mutability_exclusions"),
        (filter(&"x".repeat(129)), "tag_mutability_exclusions"),
    ] {
        let message = creating(ecr, &bad).unwrap_or_else(|| panic!("{bad:.60} was taken"));
        assert!(message.contains(&format!("create_repository.{path}")), "{message}");
    }
    assert_eq!(creating("public.ecr.aws", r#"{"tags":{"team":"platform"}}"#), None);
    assert!(creating("public.ecr.aws", r#"{"scan_on_push":true}"#).unwrap().contains("ECR Public knows nothing but"));
    assert!(creating("ghcr.io", "{}").unwrap().contains("only ECR"));
}

#[test]
fn the_byte_budget_follows_the_functions_memory() {
    let bytes = |memory| Config::parse("{}", &environment(memory)).unwrap().limits.buffer_bytes;
    assert_eq!([bytes("128"), bytes("512"), bytes("10240")].map(|bytes| bytes >> 20), [32, 224, 512]);
    let config = parse(r#"{"limits":{"buffer_bytes":2097152}}"#).unwrap();
    assert_eq!(config.limits.buffer_bytes, 2 << 20);
}

#[test]
fn where_the_configuration_is_has_three_forms() {
    let source = |text: &'static str| {
        Environment::from(&move |name| match name {
            "TRANSSHIP_CONFIG" => Some(text.to_owned()),
            "LAMBDA_TASK_ROOT" => Some("/var/task".to_owned()),
            _ => None,
        })
        .config_source()
    };
    assert_eq!(source(" {}").unwrap(), ConfigSource::Inline("{}".to_owned()));
    assert_eq!(source("file:config.json").unwrap(), ConfigSource::File("/var/task/config.json".into()));
    assert_eq!(source("ssm:/transship/config").unwrap(), ConfigSource::Parameter("/transship/config".to_owned()));
    assert!(source("config.json").unwrap_err().message.contains("file:PATH"));
    assert!(Environment::from(&|_| None).config_source().unwrap_err().message.contains("not set"));
}

#[test]
fn the_contracts_example_is_understood() {
    let text = r#"{
      "rules": [{
        "name": "releases to GitHub and to the EU account",
        "source": { "registry": "111122223333.dkr.ecr.us-east-1.amazonaws.com", "repository": "team/**" },
        "tags": { "include": ["v*"], "exclude": ["*-rc*"], "semver": ">=1.2, <3" },
        "destinations": ["ghcr.io/acme/{repository}:{tag}",
          "222233334444.dkr.ecr.eu-west-1.amazonaws.com/mirror/{repository}:{tag}"],
        "platforms": ["linux/amd64", "linux/arm64/v8"],
        "referrers": true, "untagged": "skip", "existing_tag": "overwrite"
      }],
      "registries": {
        "ghcr.io": { "credentials": "secretsmanager:arn:aws:secretsmanager:us-east-1:111122223333:secret:ghcr" },
        "222233334444.dkr.ecr.eu-west-1.amazonaws.com": {
          "role_arn": "arn:aws:iam::222233334444:role/transship-push",
          "create_repository": { "tag_mutability": "IMMUTABLE", "scan_on_push": true,
            "encryption": { "type": "KMS", "kms_key": "alias/ecr" }, "tags": { "team": "platform" } }
        }
      },
      "limits": {}
    }"#;
    let config = parse(text).unwrap();
    let registry = config.registry("222233334444.dkr.ecr.eu-west-1.amazonaws.com");
    assert_eq!(registry.create_repository.unwrap().tag_mutability, Some(TagMutability::Immutable));
    let with = |platforms: &str| mistakes(&text.replace(r#"["linux/amd64", "linux/arm64/v8"]"#, platforms));
    assert!(with("[]").contains("rules[0].platforms: an empty list"));
    let two = with(r#"["amd64", "linux/amd64", "linux/*"]"#);
    assert!(two.contains("rules[0].platforms[0]: `amd64` is no platform"), "{two}");
    assert!(two.contains("rules[0].platforms[2]: `linux/*` is no platform"), "{two}");
}

#[test]
fn platforms_go_with_no_digest_that_is_given() {
    let pinned = r#"{"rules":[{"platforms":["linux/amd64"],"destinations":["ghcr.io/a/b@{digest}"]}]}"#;
    assert!(mistakes(pinned).contains("rules[0].destinations[0]: `ghcr.io/a/b@{digest}` names a digest"));
    let pieces = r#"{"rules":[{"platforms":["linux/amd64"],"untagged":"by-digest","destinations":["ghcr.io/a/b"]}]}"#;
    assert!(mistakes(pieces).contains("rules[0].untagged: `by-digest` keeps"));
}

#[test]
fn the_schema_in_the_docs_is_the_types() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/config.schema.json");
    let schema = Document::schema().unwrap() + "\n";
    if std::env::var_os("TRANSSHIP_UPDATE_SCHEMA").is_some() {
        std::fs::write(path, &schema).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(kept == schema, "docs/config.schema.json is not current: run `make schema`");
}
