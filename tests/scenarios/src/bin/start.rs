//! `make start`: how long the shipped function takes from its start to its first question for work, and how large it is.
#![allow(clippy::print_stdout, clippy::expect_used, reason = "a program for people, beside the tests")]

use std::time::Duration;

use scenarios::Function;

/// Starts that are measured; the first ones warm the file cache and are left out.
const STARTS: usize = 40;
const WARM_UP: usize = 5;

/// Two rules and three registries, as a small team has them. Nothing in it is reached before the first event.
const CONFIG: &str = r#"{
  "rules": [
    { "source": { "repository": "team/**" }, "tags": { "include": ["v*"], "semver": ">=1" },
      "destinations": ["ghcr.io/acme/{repository}", "222233334444.dkr.ecr.eu-west-1.amazonaws.com/mirror/{repository}"] },
    { "source": { "repository": "base/*" }, "destinations": ["quay.io/acme/{name}"] }
  ],
  "registries": {
    "ghcr.io": { "credentials": "secretsmanager:ghcr" },
    "quay.io": { "credentials": "secretsmanager:quay" },
    "222233334444.dkr.ecr.eu-west-1.amazonaws.com": { "role_arn": "arn:aws:iam::222233334444:role/push" }
  }
}"#;

#[tokio::main]
async fn main() {
    for binary in ["on-push", "fanout"] {
        let mut starts = Vec::new();
        let mut memory = 0;
        for round in 0..STARTS + WARM_UP {
            let mut function = Function::start(binary, &[("TRANSSHIP_CONFIG", CONFIG)]).await;
            let took = function.ready().await.expect("the function starts");
            memory = memory.max(function.peak_rss());
            if round >= WARM_UP {
                starts.push(took);
            }
        }
        starts.sort();
        let millis = |duration: Duration| duration.as_secs_f64() * 1000.0;
        println!(
            "{binary}: start to first poll {:.1} ms median, {:.1} to {:.1} ms over {STARTS} starts; {:.1} MiB resident",
            millis(starts[STARTS / 2]),
            millis(starts[0]),
            millis(starts[STARTS - 1]),
            memory as f64 / f64::from(1 << 20),
        );
    }
}
