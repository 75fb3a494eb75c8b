use crate::{config::Config, settings::Environment};

use super::*;

fn rules(json: &str) -> Rules {
    Config::parse(json, &Environment::from(&|_| None)).unwrap().rules
}

fn planned(order: &str, config: &str) -> Result<Vec<String>, Error> {
    let order = Order::read(order)?;
    let rules = rules(config);
    let plan = Plan::of(&order, &rules)?;
    let scope = |scope: &Scope| match &scope.repositories {
        Repositories::Named(names) => format!("{}: {}", scope.registry, names.join(" ")),
        Repositories::Listed(globs) => {
            format!("{}: {}", scope.registry, if globs.is_some() { "some" } else { "all" })
        }
    };
    Ok(plan.scopes.iter().map(scope).collect())
}

const ANY: &str = r#"{"rules":[{"destinations":["quay.io/a/{name}"]}]}"#;

#[test]
fn what_is_listed_follows_from_the_message_and_the_rules() {
    let plan = |order: &str, config: &str| planned(order, config).unwrap();
    assert_eq!(plan(r#"{"backfill":{"repository":"docker.io/alpine"}}"#, ANY), ["docker.io: library/alpine"]);
    assert_eq!(plan(r#"{"backfill":{"repository":"ghcr.io/acme/**"}}"#, ANY), ["ghcr.io: some"]);
    let rules = r#"{"rules":[
        {"source":{"registry":"ghcr.io","repository":"acme/b"},"destinations":["quay.io/a/{name}"]},
        {"source":{"registry":"ghcr.io","repository":"acme/a"},"destinations":["quay.io/b/{name}"]},
        {"source":{"registry":"ghcr.io","repository":"acme/a"},"destinations":["quay.io/c/{name}"]},
        {"source":{"registry":"r.example.test","repository":"a/*"},"destinations":["quay.io/a/{name}"]},
        {"destinations":["quay.io/d/{name}"]}]}"#;
    assert_eq!(plan(r#"{"backfill":{}}"#, rules), ["ghcr.io: acme/a acme/b", "r.example.test: all"]);
    let order = Order::read(r#"{"backfill":{}}"#).unwrap();
    assert_eq!(Plan::of(&order, &self::rules(rules)).unwrap().unlisted, ["rules[4]"]);
}

#[test]
fn what_is_no_backfill_names_the_field() {
    for (order, part) in [
        (r#"{"backfill":{"repositry":"ghcr.io/a"}}"#, "repositry"),
        (r#"{"backfill":{"tags":{"includes":["a"]}}}"#, "backfill.tags"),
        (r#"{"backfill":{},"destination":"x"}"#, "destination"),
        (r#"{"backfill":"ghcr.io/a"}"#, "backfill: "),
        (r#"{"backfill":{"repository":"alpine"}}"#, "backfill.repository: `alpine`"),
        (r#"{"backfill":{"repository":"ghcr.io/a/b:v1"}}"#, "name tags in backfill.tags"),
        (r#"{"backfill":{"repository":"ghcr.io/a/**b"}}"#, "backfill.repository"),
        (r#"{"backfill":{"repository":"ghcr.io/a","tags":{"semver":"new"}}}"#, "backfill.tags.semver"),
        (r#"{"backfill":{"repository":"ghcr.io/a","destination":"b"}}"#, "backfill.destination"),
        (
            r#"{"backfill":{"repository":"ghcr.io/a","destination":"b","tags":{"include":["["]}}}"#,
            "backfill.tags.include",
        ),
        (r#"{"backfill":{"destination":"quay.io/a/b"}}"#, "backfill.destination: it needs"),
        (r#"{"backfill":{"repository":"ghcr.io/a","newest":0}}"#, "backfill.newest"),
        (r#"{"backfill":{"repository":"ghcr.io/a","newest":"all"}}"#, "backfill.newest"),
        (r#"{"backfill":{"repository":"ghcr.io/a","pushed_since":"today"}}"#, "backfill.pushed_since"),
        (r#"{"backfill":{"attached":"yes"}}"#, "backfill.attached: invalid type: string \"yes\", expected a boolean"),
        (r#"{"backfill":{"attached":["application/spdx+json"]}}"#, "backfill.attached: invalid type: sequence"),
        (r#"{"backfill":{"referrers":false}}"#, "backfill.referrers: it needs backfill.destination"),
        (r#"{"backfill":{"require_referrers":[]}}"#, "backfill.require_referrers: it needs backfill.destination"),
        (r#"{"backfill":{"scan_gate":{"severity":"LOW"}}}"#, "backfill.scan_gate: it needs backfill.destination"),
        (r#"{"backfill":{"existing_tag":"move"}}"#, "backfill.existing_tag: unknown variant `move`"),
        (r#"{"backfill":{"referrers":"all"}}"#, "backfill.referrers: expected true, false, or"),
        (r#"{"backfill":{}}"#, "backfill.repository: it is left out"),
        (r#"{"backfill":{"cursor":{"counts":{},"at":1}}}"#, "backfill.cursor"),
    ] {
        let error = planned(order, ANY).unwrap_err();
        assert_eq!(error.error_type, ErrorType::InvalidEvent, "{order}");
        assert!(error.message.contains(part), "{order}: {error}");
    }
    let one = r#"{"rules":[{"source":{"repository":"a"},"destinations":["quay.io/a/{name}"]}]}"#;
    let error = planned(r#"{"backfill":{"repository":"ghcr.io/b"}}"#, one).unwrap_err();
    assert!(error.message.contains("no rule takes ghcr.io/b"), "{error}");
}

#[test]
fn what_an_own_destination_asks_for_is_checked_as_a_rule_is() {
    for (fields, part) in [
        (r#""platforms":["amd64"]"#, "backfill.platforms[0]"),
        (r#""platforms":["linux/amd64"],"destination":"quay.io/a/b@{digest}""#, "backfill.destination"),
        (r#""referrers":{"include":["["]}"#, "backfill.referrers.include[0]"),
        (r#""require_referrers":[""]"#, "backfill.require_referrers[0]"),
        (r#""scan_gate":{"severity":"LOW","wait_minutes":0}"#, "backfill.scan_gate.wait_minutes"),
    ] {
        let destination = if fields.contains("destination") { "" } else { r#","destination":"quay.io/a/b""# };
        let order = format!(r#"{{"backfill":{{"repository":"ghcr.io/a",{fields}{destination}}}}}"#);
        let error = planned(&order, ANY).unwrap_err();
        assert!(error.message.contains(part), "{order}: {error}");
        assert!(!error.message.contains("rules["), "{order}: {error}");
    }
}

#[test]
fn what_goes_on_or_is_put_apart_asks_for_the_same() {
    let fields = r#""platforms":["linux/amd64"],"referrers":{"exclude":["a/*"]},"require_referrers":["b/c"],
        "existing_tag":"keep","scan_gate":{"severity":"LOW","wait_minutes":7},"attached":true"#;
    let order = Order::read(&format!(
        r#"{{"backfill":{{"repository":"ghcr.io/*","destination":"quay.io/a/{{name}}",{fields}}}}}"#
    ));
    let order = order.unwrap();
    let again = Order::read(&order.continued(Cursor::default()).unwrap()).unwrap();
    assert_eq!(again, Order { cursor: Some(Cursor::default()), ..order.clone() });
    let apart = Order::read(&order.of_one("ghcr.io/a".to_owned()).unwrap()).unwrap();
    assert_eq!(apart, Order { repository: Some("ghcr.io/a".to_owned()), ..order });
}

#[test]
fn a_continuation_reads_back_as_it_was() {
    let order = r#"{"backfill":{"repository":"ghcr.io/a/b","tags":{"include":["v*"]},"newest":3,"dry_run":true}}"#;
    let order = Order::read(order).unwrap();
    let cursor = Cursor {
        registry: Some("ghcr.io".to_owned()),
        repository: Some("a/b".to_owned()),
        images: Some("n=2&last=v2".to_owned()),
        after: Some("v3".to_owned()),
        times: Some(vec![1, 2]),
        counts: Counts { listed: 7, ..Counts::default() },
        ..Cursor::default()
    };
    let body = order.continued(cursor).unwrap();
    let again = Order::read(&body).unwrap();
    assert_eq!(again.continued(again.cursor.clone().unwrap()).unwrap(), body);
    assert!(body.starts_with(r#"{"version":1,"#), "{body}");
    assert_eq!(again.tags.unwrap().include, ["v*"]);
}
