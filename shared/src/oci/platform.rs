//! What machine an image is for: read from what users write and from what images say, and compared.

use std::{fmt, str::FromStr};

use serde::Deserialize;

/// A platform, as it is compared: `linux/amd64`, `linux/arm/v7`, `windows(10.0.17763)/amd64`.
///
/// Written and normalised as containerd does: lower case, `x86_64` is `amd64`, `aarch64` is `arm64`, `i386` is `386`, `armhf`
/// is `arm/v7` and `armel` `arm/v6`, `macos` is `darwin`; `arm64/v8` and `amd64/v1` are the plain ones, `arm` is `arm/v7`. What
/// names no system is for Linux, which is where this runs.
///
/// Source: github.com/containerd/platforms, `Parse`, `Normalize`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
    os_version: Option<String>,
    /// In order, each once.
    os_features: Vec<String>,
}

/// A platform as descriptors and image configurations have it. Unknown members are nobody's business here.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Described {
    #[serde(default)]
    os: Option<String>,
    #[serde(default)]
    architecture: Option<String>,
    #[serde(default)]
    variant: Option<String>,
    #[serde(default, rename = "os.version")]
    os_version: Option<String>,
    #[serde(default, rename = "os.features")]
    os_features: Option<Vec<String>>,
}

/// A text is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no platform: {reason}; expected OS/ARCHITECTURE[/VARIANT], such as linux/amd64, linux/arm/v7, windows(10.0.17763)/amd64"
)]
pub struct PlatformError {
    /// The text, cut to a sane length.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// The numbers of a Windows version that tell what runs where; a fourth one is the patch level.
type WindowsVersion = (u8, u8, u16);

fn windows_version(text: &str) -> Option<WindowsVersion> {
    let mut numbers = text.split('.');
    let (major, minor, build) = (numbers.next()?, numbers.next()?, numbers.next()?);
    Some((major.parse().ok()?, minor.parse().ok()?, build.parse().ok()?))
}

/// Windows Server 2022: from it on a host runs containers of older releases, no older than this one.
const STABLE_SINCE: u16 = 20348;

/// Whether a Windows host runs containers of a version.
///
/// Source: github.com/containerd/platforms, `checkWindowsHostAndContainerCompat`; Microsoft, "Windows container version
/// compatibility".
fn runs_on(host: WindowsVersion, container: WindowsVersion) -> bool {
    let ((major, minor, host), (of_major, of_minor, build)) = (host, container);
    let builds = if host < STABLE_SINCE { host..=host } else { STABLE_SINCE..=host };
    (major, minor) == (of_major, of_minor) && builds.contains(&build)
}

impl Platform {
    /// Reads a list of a configuration or a message; the mistakes begin with where in the list they are.
    ///
    /// # Errors
    /// Every text that is no platform, or that the list is empty.
    pub fn list(texts: &[String]) -> Result<Vec<Self>, Vec<String>> {
        if texts.is_empty() {
            return Err(vec![": an empty list keeps nothing; leave it out to copy the whole index".to_owned()]);
        }
        let mut mistakes = Vec::new();
        let read = |(position, text): (usize, &String)| match text.parse() {
            Ok(platform) => Some(platform),
            Err(error) => {
                let error: PlatformError = error;
                mistakes.push(format!("[{position}]: {error}"));
                None
            }
        };
        let platforms = texts.iter().enumerate().filter_map(read).collect();
        if mistakes.is_empty() { Ok(platforms) } else { Err(mistakes) }
    }

    /// Whether an image for `other` is one for this platform, which a user named.
    ///
    /// System, architecture and variant must be the same once they are normalised, as containerd's `NewMatcher` and
    /// `OnlyStrict` compare them. Its `Only` also takes what a machine can run besides (`arm/v6` for `arm/v7`): good for
    /// choosing one image to run, but a list of what to keep would keep what nobody named. A version counts for Windows alone:
    /// as that of a host, which takes what it can run. An image that says no version matches. What an image demands of its
    /// system (`os.features`) must be named.
    #[must_use]
    pub fn takes(&self, other: &Self) -> bool {
        self.os == other.os
            && self.architecture == other.architecture
            && self.variant == other.variant
            && self.takes_version(other.os_version.as_deref())
            && other.os_features.iter().all(|feature| self.os_features.contains(feature))
    }

    /// Whether it is `unknown/unknown`, which stands for no machine at all (BuildKit, "Image attestation storage").
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.os == "unknown" && self.architecture == "unknown"
    }

    fn takes_version(&self, other: Option<&str>) -> bool {
        if self.os != "windows" {
            return true;
        }
        let (Some(own), Some(other)) = (self.os_version.as_deref().and_then(windows_version), other) else {
            return true;
        };
        windows_version(other).is_some_and(|other| runs_on(own, other))
    }

    fn normal(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let (os, architecture) = (os.to_ascii_lowercase(), architecture.to_ascii_lowercase());
        let variant = variant.map(str::to_ascii_lowercase).unwrap_or_default();
        let os = if os == "macos" { "darwin".to_owned() } else { os };
        let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
            ("i386", _) => ("386", ""),
            ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
            ("x86_64" | "x86-64", variant) => ("amd64", variant),
            ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
            ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
            ("aarch64", variant) => ("arm64", variant),
            ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
            ("armel", _) | ("arm", "6") => ("arm", "v6"),
            ("arm", "5") => ("arm", "v5"),
            ("arm", "8") => ("arm", "v8"),
            same => same,
        };
        let variant = Some(variant.to_owned()).filter(|variant| !variant.is_empty());
        Self { os, architecture: architecture.to_owned(), variant, os_version: None, os_features: Vec::new() }
    }

    fn with_system(self, version: Option<&str>, features: impl Iterator<Item = String>) -> Self {
        let mut os_features: Vec<String> = features.collect();
        os_features.sort_unstable();
        os_features.dedup();
        let os_version = version.filter(|version| !version.is_empty()).map(str::to_owned);
        Self { os_version, os_features, ..self }
    }
}

impl Described {
    /// The platform; `None`: it tells of none, as signatures and other artifacts do that borrow an image's shape.
    pub(crate) fn platform(&self) -> Option<Platform> {
        let said = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let (os, architecture) = (said(&self.os), said(&self.architecture));
        if os.is_none() && architecture.is_none() {
            return None;
        }
        let platform = Platform::normal(
            os.as_deref().unwrap_or("linux"),
            architecture.as_deref().unwrap_or("unknown"),
            self.variant.as_deref(),
        );
        Some(platform.with_system(self.os_version.as_deref(), self.os_features.iter().flatten().cloned()))
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let wrong = |reason| PlatformError { text: text.chars().take(100).collect(), reason };
        let parts: Vec<&str> = text.split('/').collect();
        let (system, architecture, variant) = match parts[..] {
            [system, architecture] => (system, architecture, None),
            [system, architecture, variant] => (system, architecture, Some(variant)),
            _ => return Err(wrong("it has not two or three parts")),
        };
        let (os, options) = match system.split_once('(') {
            Some((os, options)) => (os, options.strip_suffix(')').ok_or_else(|| wrong("its ( is not closed"))?),
            None => (system, ""),
        };
        let word = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
        };
        if ![os, architecture].into_iter().chain(variant).all(word) {
            return Err(wrong("a part is empty, or holds what is neither letter, digit, _, . nor -"));
        }
        let (version, features) = match options.split_once('+') {
            Some((version, features)) => (version, features.split('+').collect()),
            None => (options, Vec::new()),
        };
        if !version.is_empty() && !word(version) || !features.iter().all(|feature| word(feature)) {
            return Err(wrong("its version or a feature is empty, or holds what is neither letter, digit, _, . nor -"));
        }
        if system.contains('(') && options.is_empty() {
            return Err(wrong("there is nothing between ( and )"));
        }
        let platform = Self::normal(os, architecture, variant);
        // To containerd it would be every version.
        if platform.os == "windows" && !version.is_empty() && windows_version(version).is_none() {
            return Err(wrong("a Windows version has three numbers, its build the last of them"));
        }
        Ok(platform.with_system(Some(version), features.into_iter().map(str::to_owned)))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.os)?;
        if self.os_version.is_some() || !self.os_features.is_empty() {
            write!(f, "({}", self.os_version.as_deref().unwrap_or_default())?;
            self.os_features.iter().try_for_each(|feature| write!(f, "+{feature}"))?;
            f.write_str(")")?;
        }
        write!(f, "/{}", self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn platforms_are_normalised_as_containerd_does() {
        for (written, normal) in [
            ("linux/amd64", "linux/amd64"),
            ("Linux/x86_64", "linux/amd64"),
            ("linux/x86-64/v1", "linux/amd64"),
            ("linux/amd64/V3", "linux/amd64/v3"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm64/8", "linux/arm64"),
            ("linux/arm64/v8.0", "linux/arm64"),
            ("linux/arm64/v8.1", "linux/arm64/v8.1"),
            ("linux/arm64/v9", "linux/arm64/v9"),
            ("linux/aarch64/9", "linux/arm64/v9"),
            ("linux/arm64/v9.0", "linux/arm64/v9"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/i386", "linux/386"),
            ("macos/arm64", "darwin/arm64"),
            ("windows(10.0.17763)/amd64", "windows(10.0.17763)/amd64"),
            ("windows(10.0.17763+win32k+a)/amd64", "windows(10.0.17763+a+win32k)/amd64"),
            ("windows(+win32k)/amd64", "windows(+win32k)/amd64"),
        ] {
            assert_eq!(platform(written).to_string(), normal, "{written}");
            assert_eq!(platform(normal), platform(written), "it reads back");
        }
    }

    #[test]
    fn what_is_no_platform_says_why() {
        for (text, part) in [
            ("linux", "two or three parts"),
            ("linux/arm/v7/x", "two or three parts"),
            ("", "two or three parts"),
            ("/amd64", "empty"),
            ("linux/*", "neither letter"),
            ("linux/amd64/", "empty"),
            ("windows(10.0.17763/amd64", "not closed"),
            ("windows()/amd64", "nothing between"),
            ("windows(10.0)/amd64", "three numbers"),
            ("windows(10.0.17763++a)/amd64", "feature is empty"),
            ("windows(10.0.1 7)/amd64", "version"),
        ] {
            let error = text.parse::<Platform>().unwrap_err();
            assert!(error.reason.contains(part), "{text}: {error}");
        }
        assert_eq!(Platform::list(&[]).unwrap_err().len(), 1);
        let mistakes = Platform::list(&["linux/amd64".into(), "x".into(), "y".into()]).unwrap_err();
        assert!(mistakes[0].starts_with("[1]: `x`") && mistakes[1].starts_with("[2]: `y`"), "{mistakes:?}");
    }

    #[test]
    fn what_was_named_is_taken_and_nothing_that_would_run_besides() {
        for (named, of_image, taken) in [
            ("linux/arm64/v8", "linux/arm64", true),
            ("linux/arm64", "linux/arm64/v8", true),
            ("linux/arm64", "linux/arm64/v9", false),
            ("linux/arm", "linux/arm/v7", true),
            ("linux/arm/v7", "linux/arm/v6", false),
            ("linux/amd64", "linux/amd64/v3", false),
            ("linux/amd64/v3", "linux/amd64", false),
            ("linux/amd64", "windows/amd64", false),
            ("windows/amd64", "windows(10.0.17763.6532)/amd64", true),
            ("windows(10.0.17763)/amd64", "windows(10.0.17763.6532)/amd64", true),
            ("windows(10.0.17763.1)/amd64", "windows(10.0.17763.6532)/amd64", true),
            ("windows(10.0.17763)/amd64", "windows(10.0.17764.1)/amd64", false),
            ("windows(10.0.20348)/amd64", "windows(10.0.26100.1)/amd64", false),
            ("windows(10.0.26100)/amd64", "windows(10.0.20348.1)/amd64", true),
            ("windows(10.0.26100)/amd64", "windows(10.0.26100.1)/amd64", true),
            ("windows(10.0.26100)/amd64", "windows(10.0.17763.1)/amd64", false),
            ("windows(10.0.20348)/amd64", "windows(10.0.17763.1)/amd64", false),
            ("windows(10.0.20348)/amd64", "windows(10.0.20348.1)/amd64", true),
            ("windows(10.0.17763)/amd64", "windows(10.0.20348.1)/amd64", false),
            ("windows(10.0.17763)/amd64", "windows(10.1.17763.1)/amd64", false),
            ("windows(10.0.17763)/amd64", "windows/amd64", true),
            ("windows/amd64", "windows(+win32k)/amd64", false),
            ("windows(+win32k)/amd64", "windows(+win32k)/amd64", true),
            ("windows(+win32k)/amd64", "windows/amd64", true),
            ("freebsd(14.1)/amd64", "freebsd(14.1.2)/amd64", true),
            ("freebsd(14.1)/amd64", "freebsd(14.2)/amd64", true),
            ("linux(5.10)/amd64", "linux/amd64", true),
        ] {
            assert_eq!(platform(named).takes(&platform(of_image)), taken, "{named} and {of_image}");
        }
    }

    #[test]
    fn what_tells_of_no_platform_has_none() {
        let of = |json: &str| serde_json::from_str::<Described>(json).unwrap().platform().map(|p| p.to_string());
        assert_eq!(of(r#"{"os":"","architecture":""}"#), None);
        assert_eq!(of("{}"), None);
        assert_eq!(of(r#"{"architecture":"amd64","config":{}}"#).unwrap(), "linux/amd64");
        assert_eq!(of(r#"{"os":"linux"}"#).unwrap(), "linux/unknown");
        let version =
            serde_json::from_str::<Described>(r#"{"os":"windows","architecture":"amd64","os.version":"new"}"#);
        let version = version.unwrap().platform().unwrap();
        assert!(!platform("windows(10.0.17763)/amd64").takes(&version) && platform("windows/amd64").takes(&version));
        let windows = r#"{"os":"windows","architecture":"amd64","os.version":"10.0.1.2","os.features":["b","a"]}"#;
        assert_eq!(of(windows).unwrap(), "windows(10.0.1.2+a+b)/amd64");
    }
}
