//! Globs of repositories and tags, compiled.

use std::iter::once;

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};

/// Texts that the `{a,b}` of one glob may stand for. Chosen: far more than anybody writes.
const MOST_CHOICES: usize = 1000;

/// Bytes of one glob. Chosen: some hundred names in one pair of braces.
const LONGEST: usize = 10_000;

/// Compiles globs; `None` where there are none, or mistakes.
pub(crate) fn globs(patterns: &[String], path: &str, single: bool, mistakes: &mut Vec<String>) -> Option<GlobSet> {
    if patterns.is_empty() {
        return None;
    }
    let mut set = GlobSetBuilder::new();
    for (position, pattern) in patterns.iter().enumerate() {
        let path = if single { path.to_owned() } else { format!("{path}[{position}]") };
        match compiled(pattern) {
            Ok(globs) => globs.into_iter().for_each(|glob| {
                set.add(glob);
            }),
            Err(reason) => mistakes.push(format!("{path}: {reason}")),
        }
    }
    set.build().inspect_err(|error| mistakes.push(format!("{path}: {error}"))).ok()
}

/// A glob for each of the texts that a pattern's `{a,b}` stand for.
fn compiled(pattern: &str) -> Result<Vec<Glob>, String> {
    if pattern.is_empty() {
        return Err("an empty glob matches nothing".to_owned());
    }
    if pattern.len() > LONGEST {
        let begin: String = pattern.chars().take(100).collect();
        return Err(format!("`{begin}…` has {} bytes, over {LONGEST}; write it as several", pattern.len()));
    }
    let choices = choices(pattern);
    if choices.len() > MOST_CHOICES {
        return Err(format!("`{pattern}` stands for over {MOST_CHOICES} globs; write it as several"));
    }
    // Inside a component it would be read as one `*`.
    let is_part = |component: &str| component.contains("**") && component != "**";
    if choices.iter().any(|choice| choice.split('/').any(is_part)) {
        return Err(format!("`{pattern}`: `**` stands for whole path components, as in `team/**`"));
    }
    let glob = |choice: &String| {
        let glob = GlobBuilder::new(&within_components(choice)).literal_separator(true).backslash_escape(true).build();
        glob.map_err(|error| format!("`{pattern}` is no glob ({})", error.kind()))
    };
    choices.iter().map(glob).collect()
}

/// What a pattern's `{a,b}` stand for, each written out: globset reads a `**` beside a brace or a comma as one `*`. Braces that
/// don't pair are left for it to tell of. At most one over [`MOST_CHOICES`].
fn choices(pattern: &str) -> Vec<String> {
    let Some((open, commas, close)) = first_braces(pattern) else { return vec![pattern.to_owned()] };
    let (before, after) = (&pattern[..open], &pattern[close + 1..]);
    let mut begin = open + 1;
    let mut all = Vec::new();
    for end in commas.into_iter().chain(once(close)) {
        all.extend(choices(&format!("{before}{}{after}", &pattern[begin..end])));
        begin = end + 1;
        if all.len() > MOST_CHOICES {
            break;
        }
    }
    all.truncate(MOST_CHOICES + 1);
    all
}

/// Where the first braces open, what commas they have, and where they close.
fn first_braces(pattern: &str) -> Option<(usize, Vec<usize>, usize)> {
    let bytes = pattern.as_bytes();
    let (mut open, mut commas, mut depth) = (0, Vec::new(), 0_u32);
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 1,
            b'[' => at = end_of_class(bytes, at)?,
            b'{' => {
                depth += 1;
                open = if depth == 1 { at } else { open };
            }
            b',' if depth == 1 => commas.push(at),
            b'}' if depth == 1 => return Some((open, commas, at)),
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    None
}

/// Where the class of characters ends that begins here; the first one of them is never its end.
fn end_of_class(bytes: &[u8], open: usize) -> Option<usize> {
    let first = open + 1 + usize::from(is_negation(bytes.get(open + 1)));
    let length = bytes.get(first + 1..)?.iter().position(|byte| *byte == b']')?;
    Some(first + 1 + length)
}

fn is_negation(byte: Option<&u8>) -> bool {
    matches!(byte, Some(b'!' | b'^'))
}

/// The same glob, whose `[!a]` takes no `/`: like `?`, it stays within a component.
fn within_components(glob: &str) -> String {
    let bytes = glob.as_bytes();
    let (mut text, mut copied, mut at) = (String::new(), 0, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 1,
            b'[' => {
                let Some(end) = end_of_class(bytes, at) else { break };
                if is_negation(bytes.get(at + 1)) {
                    // A `]`, and a `-`, has to come first to be one of the characters.
                    let first = matches!(bytes.get(at + 2), Some(b']' | b'-'));
                    let place = at + 2 + usize::from(first);
                    // With a range that begins so it would be another one.
                    if !(first && bytes.get(place) == Some(&b'-')) {
                        text.push_str(&glob[copied..place]);
                        text.push('/');
                        copied = place;
                    }
                }
                at = end;
            }
            _ => {}
        }
        at += 1;
    }
    text + &glob[copied..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pattern: &str) -> GlobSet {
        let mut mistakes = Vec::new();
        let set = globs(&[pattern.to_owned()], "here", true, &mut mistakes);
        assert_eq!(mistakes, Vec::<String>::new(), "{pattern}");
        set.unwrap()
    }

    #[test]
    fn a_choice_is_what_it_is_outside_of_braces() {
        for (pattern, takes, leaves) in [
            ("{**,x}", &["a", "a/b", "x/y/z"][..], &[][..]),
            ("{x,**}", &["a/b"], &[]),
            ("{**}", &["a", "a/b"], &[]),
            ("team/{secret,**}", &["team/secret", "team/x/secret"], &["other/x"]),
            ("{**}/x", &["x", "a/x", "a/b/x"], &["a/b"]),
            ("a/{b,c/{**,x}}", &["a/b", "a/c/d/e", "a/c/x"], &["a/d"]),
            ("{a/**,b}/c", &["a/c", "a/x/c", "a/x/y/c", "b/c"], &["b/x/c"]),
            ("v1{,-alpine}", &["v1", "v1-alpine"], &["v1-"]),
            ("a{,/**}", &["a", "a/b/c"], &["ab"]),
            ("[{,]a", &["{a", ",a"], &["a"]),
            ("\\{a,b\\}", &["{a,b}"], &["a", "b"]),
            ("[]{]a", &["]a", "{a"], &["a"]),
        ] {
            let set = set(pattern);
            takes.iter().for_each(|text| assert!(set.is_match(text), "{pattern} takes {text}"));
            leaves.iter().for_each(|text| assert!(!set.is_match(text), "{pattern} leaves {text}"));
        }
    }

    #[test]
    fn what_a_class_leaves_out_stays_within_a_component() {
        for pattern in ["team[!x]app", "team[^x]app", "{team,x}[!x]app"] {
            assert!(set(pattern).is_match("team-app"), "{pattern}");
            assert!(!set(pattern).is_match("team/app") && !set(pattern).is_match("teamxapp"), "{pattern}");
        }
        assert!(set("a[!a-c]").is_match("ad") && !set("a[!a-c]").is_match("ab"));
        assert!(!set("a[!]]").is_match("a]") && set("a[!]]").is_match("ab") && !set("a[!]]b").is_match("a/b"));
        for leaves in ["[!-.]*", "[!-_]*", "[!-]*"] {
            assert!(set(leaves).is_match("a") && set(leaves).is_match("1") && !set(leaves).is_match("-"), "{leaves}");
            assert!(!set(leaves).is_match("/"), "{leaves}");
        }
        assert!(!set("[!--a]").is_match("Z") && set("[!--a]").is_match("b"));
        assert!(set("a\\[!b]").is_match("a[!b]"));
    }

    #[test]
    fn what_is_no_glob_says_where_and_why() {
        let (many, long) = ("{a,b}".repeat(10), "{a}".repeat(100_000));
        for (pattern, part) in [
            ("", "empty"),
            ("team-**", "whole path components"),
            ("team/{a,**}-x", "whole path components"),
            ("{a,b", "no glob"),
            ("a,b}", "no glob"),
            ("[a", "no glob"),
            (&many, "over 1000"),
            (&long, "300000 bytes, over 10000"),
        ] {
            let mut mistakes = Vec::new();
            globs(&["ok".to_owned(), pattern.to_owned()], "here", false, &mut mistakes);
            assert!(mistakes.len() == 1 && mistakes[0].starts_with("here[1]: "), "{pattern}: {mistakes:?}");
            assert!(mistakes[0].contains(part), "{pattern}: {mistakes:?}");
        }
        // It is read to its end, however many there are.
        assert_eq!(choices(&"{a,b}".repeat(40)).len(), MOST_CHOICES + 1);
    }
}
