//! Rules against a plain reference implementation: globs, versions and templates done by hand.

use std::collections::HashSet;

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};
use transfer::{
    config::Config,
    rules::{Pushed, Routes, Verdict},
    settings::Environment,
};

/// A rule as the model has it.
#[derive(Debug, Clone)]
struct Rule {
    registry: Option<String>,
    repository: Option<String>,
    exclude: Vec<String>,
    include: Vec<String>,
    exclude_tags: Vec<String>,
    range: Option<Vec<Bound>>,
    destinations: Vec<String>,
}

/// One comparison of a range: an operator, and numbers of which the last may be left out.
#[derive(Debug, Clone)]
struct Bound(&'static str, Vec<u64>);

const REGISTRIES: [&str; 3] = ["ghcr.io", "quay.io", "registry.example.test:5000"];
const PARTS: [&str; 4] = ["a", "b", "ab", "team"];
const PLACES: [&str; 6] = [
    "gcr.io/m/{repository}:{tag}",
    "gcr.io/m/{name}",
    "gcr.io/m/{repository}",
    "mirror.example.test/{registry}/x/{name}:{tag}-x",
    "mirror.example.test/m/{name}:stable",
    "gcr.io/m/x-{tag}:v1",
];

fn component() -> impl Strategy<Value = String> {
    let word = select(&PARTS[..]).prop_map(str::to_owned);
    let glob =
        select(&["*", "a*", "*b", "*a*", "?", "a?", "[ab]", "[!a]", "{a,b}", "{a,team}", "a{,b}", "{*b,t*}"][..]);
    prop_oneof![3 => word, 3 => glob.prop_map(str::to_owned), 1 => Just("**".to_owned())]
}

fn glob() -> impl Strategy<Value = String> {
    let path = vec(component(), 1..4).prop_map(|parts| parts.join("/"));
    let choice = select(
        &[
            "{a/**,b}",
            "{team/*,a/b,**/ab}",
            "a/{b,ab/*}",
            "{**,b}",
            "a/{b,**}",
            "{**}/ab",
            "{a/**,b}/ab",
            "{b,**/a}/**",
        ][..],
    )
    .prop_map(str::to_owned);
    prop_oneof![6 => path, 1 => choice]
}

fn tag_glob() -> impl Strategy<Value = String> {
    select(&["v*", "*", "1.*", "*-rc*", "{v1*,latest}", "latest", "v[0-2].*", "*.0", "v?.2.3", "1.2.3"][..])
        .prop_map(str::to_owned)
}

fn bound() -> impl Strategy<Value = Bound> {
    let operator = select(&[">=", ">", "<", "<=", "=", "^", "~"][..]);
    (operator, vec(0..4_u64, 1..4)).prop_map(|(operator, numbers)| Bound(operator, numbers))
}

fn rule() -> impl Strategy<Value = Rule> {
    let source = (option::of(select(&REGISTRIES[..])), option::of(glob()), vec(glob(), 0..2));
    let tags = (vec(tag_glob(), 0..3), vec(tag_glob(), 0..2), option::weighted(0.4, vec(bound(), 1..3)));
    (source, tags, vec(select(&PLACES[..]), 1..3)).prop_map(|(source, tags, destinations)| Rule {
        registry: source.0.map(str::to_owned),
        repository: source.1,
        exclude: source.2,
        include: tags.0,
        exclude_tags: tags.1,
        range: tags.2,
        destinations: destinations.into_iter().map(str::to_owned).collect(),
    })
}

fn tag() -> impl Strategy<Value = String> {
    let version = (any::<bool>(), 0..4_u64, 0..4_u64, 0..4_u64, 0..8_u8).prop_map(|(v, major, minor, patch, end)| {
        let end = ["-rc1", "-rc.2", "-alpine"].get(usize::from(end)).unwrap_or(&"");
        format!("{}{major}.{minor}.{patch}{end}", if v { "v" } else { "" })
    });
    let other = select(&["latest", "v1", "1.2", "vv1.2.3", "01.2.3"][..]).prop_map(str::to_owned);
    prop_oneof![4 => version, 1 => other]
}

fn document(rules: &[Rule]) -> Value {
    let rules = rules.iter().map(|rule| {
        let mut tags = json!({ "include": rule.include, "exclude": rule.exclude_tags });
        if let Some(range) = &rule.range {
            let text = |Bound(operator, numbers): &Bound| {
                let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
                format!("{operator}{}", numbers.join("."))
            };
            tags["semver"] = range.iter().map(text).collect::<Vec<_>>().join(", ").into();
        }
        let mut source = json!({ "exclude": rule.exclude });
        for (key, value) in [("registry", &rule.registry), ("repository", &rule.repository)] {
            if let Some(value) = value {
                source[key] = value.as_str().into();
            }
        }
        json!({ "source": source, "tags": tags, "destinations": rule.destinations })
    });
    json!({ "rules": rules.collect::<Vec<_>>() })
}

/// Every text that a glob's braces stand for. They are not nested here.
fn without_braces(glob: &str) -> Vec<String> {
    let Some((before, rest)) = glob.split_once('{') else { return vec![glob.to_owned()] };
    let (choices, after) = rest.split_once('}').unwrap();
    choices.split(',').flat_map(|choice| without_braces(&format!("{before}{choice}{after}"))).collect()
}

fn glob_matches(glob: &str, name: &str) -> bool {
    let name: Vec<&str> = name.split('/').collect();
    without_braces(glob).iter().any(|glob| path_matches(&glob.split('/').collect::<Vec<_>>(), &name))
}

fn path_matches(glob: &[&str], name: &[&str]) -> bool {
    match (glob, name) {
        ([], []) => true,
        // At the end it is something; elsewhere it may be nothing.
        (["**"], name) => !name.is_empty(),
        (["**", rest @ ..], name) => (0..=name.len()).any(|skipped| path_matches(rest, &name[skipped..])),
        ([first, glob @ ..], [head, name @ ..]) => {
            part_matches(&first.chars().collect::<Vec<_>>(), &head.chars().collect::<Vec<_>>())
                && path_matches(glob, name)
        }
        _ => false,
    }
}

fn part_matches(glob: &[char], text: &[char]) -> bool {
    match glob {
        [] => text.is_empty(),
        ['*', rest @ ..] => (0..=text.len()).any(|taken| part_matches(rest, &text[taken..])),
        ['?', rest @ ..] => !text.is_empty() && part_matches(rest, &text[1..]),
        ['[', rest @ ..] => {
            let close = rest.iter().position(|c| *c == ']').unwrap();
            let (class, rest) = (&rest[..close], &rest[close + 1..]);
            let (not, class) = if class[0] == '!' { (true, &class[1..]) } else { (false, class) };
            let Some(first) = text.first() else { return false };
            let within = match class {
                [from, '-', to] => (from..=to).contains(&first),
                class => class.contains(first),
            };
            within != not && part_matches(rest, &text[1..])
        }
        [first, rest @ ..] => text.first() == Some(first) && part_matches(rest, &text[1..]),
    }
}

/// The numbers of a tag that is a whole version; a pre-release is in no range here, as none names one.
fn version(tag: &str) -> Option<[u64; 3]> {
    let numbers: Vec<&str> = tag.strip_prefix('v').unwrap_or(tag).split('.').collect();
    let number = |text: &str| {
        let plain = text == "0" || !text.starts_with('0');
        text.parse::<u64>().ok().filter(|_| plain && text.bytes().all(|byte| byte.is_ascii_digit()))
    };
    match numbers[..] {
        [major, minor, patch] => Some([number(major)?, number(minor)?, number(patch)?]),
        _ => None,
    }
}

fn within(Bound(operator, numbers): &Bound, version: [u64; 3]) -> bool {
    let count = numbers.len();
    let cut = &version[..count];
    let bound = &numbers[..];
    let mut whole = [0; 3];
    whole[..count].copy_from_slice(numbers);
    match *operator {
        "=" => cut == bound,
        ">" => cut > bound,
        ">=" => cut >= bound,
        "<" => cut < bound,
        "<=" => cut <= bound,
        "~" => version >= whole && version[..count.min(2)] == numbers[..count.min(2)],
        // Everything up to and with the first number that is not 0 stays; of nothing but zeros, all that are written.
        "^" => {
            let fixed = numbers.iter().position(|number| *number > 0).map_or(count, |at| at + 1);
            version >= whole && version[..fixed] == numbers[..fixed]
        }
        other => panic!("{other}"),
    }
}

fn takes(rule: &Rule, registry: &str, repository: &str, tag: &str) -> bool {
    let any = |globs: &[String], text: &str| globs.iter().any(|glob| glob_matches(glob, text));
    rule.registry.as_deref().is_none_or(|own| own == registry)
        && rule.repository.as_deref().is_none_or(|glob| glob_matches(glob, repository))
        && !any(&rule.exclude, repository)
        && (rule.include.is_empty() || any(&rule.include, tag))
        && !any(&rule.exclude_tags, tag)
        && rule
            .range
            .as_ref()
            .is_none_or(|range| version(tag).is_some_and(|version| range.iter().all(|bound| within(bound, version))))
}

/// Where an image goes, each place once; `None`: some place can't be named.
fn reference(rules: &[Rule], registry: &str, repository: &str, tag: &str) -> Option<Vec<String>> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    for rule in rules.iter().filter(|rule| takes(rule, registry, repository, tag)) {
        for place in &rule.destinations {
            // A port has no place in a name, nor has a version's separator beside another.
            let name = repository.rsplit('/').next().unwrap();
            let filled = place
                .replace("{registry}", registry)
                .replace("{repository}", repository)
                .replace("{name}", name)
                .replace("{tag}", tag);
            let (_, path) = filled.split_once('/').unwrap();
            let tagged = path.rsplit('/').next().unwrap().contains(':');
            let filled = if tagged { filled.clone() } else { format!("{filled}:{tag}") };
            if path.matches(':').count() > usize::from(tagged) {
                return None;
            }
            if seen.insert(filled.clone()) {
                found.push(filled);
            }
        }
    }
    Some(found)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn rules_match_as_a_plain_reference_implementation_and_explain_says_what_the_verdict_does(
        rules in vec(rule(), 1..4),
        registry in select(&REGISTRIES[..]),
        repository in vec(select(&PARTS[..]), 1..4).prop_map(|parts| parts.join("/")),
        tag in tag(),
    ) {
        let config = Config::parse(&document(&rules).to_string(), &Environment::from(&|_| None)).unwrap();
        let pushed = Pushed {
            registry: registry.to_owned(),
            repository: repository.clone(),
            tag: Some(tag.clone()),
            digest: None,
            at: None,
        };
        let explanation = config.rules.explain(&pushed).unwrap();
        let explained: Vec<String> = explanation.destinations().map(ToString::to_string).collect();
        for (rule, explained) in rules.iter().zip(&explanation.rules) {
            prop_assert_eq!(explained.taken, takes(rule, registry, &repository, &tag));
            prop_assert_eq!(explained.taken, explained.filters.iter().all(|filter| filter.passes));
        }
        let got = match config.rules.routes(&pushed) {
            Ok(Routes { refused: Some(_), .. }) | Err(_) => None,
            Ok(Routes { verdict: Verdict::Sync(requests), .. }) => {
                Some(requests.iter().map(|request| request.destination.to_string()).collect())
            }
            Ok(Routes { verdict: Verdict::Ignore(_), .. }) => Some(Vec::new()),
        };
        prop_assert_eq!(&got, &reference(&rules, registry, &repository, &tag));
        match got {
            Some(destinations) => prop_assert_eq!(explained, destinations),
            None => prop_assert!(explanation.refused().is_some()),
        }
    }
}
