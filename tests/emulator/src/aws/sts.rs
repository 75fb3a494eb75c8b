//! STS: `AssumeRole` and `GetCallerIdentity` over the query protocol, with the trust that tests configure.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, SystemTime},
};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    ApiError, account_of,
    protocol::{STS_NAMESPACE, xml_text},
    server::lock,
    signature::Signed,
};

/// The roles, who may assume them, and who did. A role that was not configured may be assumed by anybody.
#[derive(Default)]
pub struct Sts {
    state: Mutex<State>,
}

/// One `AssumeRole` that was granted.
#[derive(Debug, Clone)]
pub struct AssumedRole {
    /// The role.
    pub role_arn: String,
    /// The name that the caller gave to the session.
    pub session_name: String,
    /// The external id that the caller sent.
    pub external_id: Option<String>,
    /// The access key that was issued.
    pub access_key: String,
    /// The access key that asked.
    pub caller: String,
    token: String,
    expired: bool,
}

#[derive(Default)]
struct State {
    denied: Vec<String>,
    external_ids: HashMap<String, String>,
    partitions: HashMap<String, String>,
    sessions: Vec<AssumedRole>,
}

impl Sts {
    /// Lets nobody assume this role.
    pub fn deny(&self, role_arn: &str) {
        lock(&self.state).denied.push(role_arn.to_owned());
    }

    /// Lets only callers with this external id assume the role.
    pub fn require_external_id(&self, role_arn: &str, external_id: &str) {
        lock(&self.state).external_ids.insert(role_arn.to_owned(), external_id.to_owned());
    }

    /// Says that a key belongs to another partition than `aws`.
    pub fn place_key(&self, access_key: &str, partition: &str) {
        lock(&self.state).partitions.insert(access_key.to_owned(), partition.to_owned());
    }

    /// Every session that was granted, oldest first.
    pub fn assumed(&self) -> Vec<AssumedRole> {
        lock(&self.state).sessions.clone()
    }

    /// Ends all sessions: their keys are answered with `ExpiredTokenException` from now on.
    pub fn expire_sessions(&self) {
        lock(&self.state).sessions.iter_mut().for_each(|session| session.expired = true);
    }

    /// A key that this STS issued must come with its session token. Other keys are the test's own.
    pub(super) fn check_session(&self, signed: &Signed) -> Result<(), ApiError> {
        let state = lock(&self.state);
        // A key of one partition is unknown in another.
        let known_in = state.partitions.get(&signed.access_key).map_or("aws", String::as_str);
        if known_in != partition_of(&signed.region) {
            let message = "The security token included in the request is invalid.";
            return Err(ApiError::with_status(403, "UnrecognizedClientException", message));
        }
        let Some(session) = state.sessions.iter().find(|session| session.access_key == signed.access_key) else {
            return Ok(());
        };
        if signed.session_token.as_ref() != Some(&session.token) {
            let message = "The security token included in the request is invalid.";
            return Err(ApiError::with_status(403, "UnrecognizedClientException", message));
        }
        if session.expired {
            let message = "The security token included in the request is expired";
            return Err(ApiError::with_status(403, "ExpiredTokenException", message));
        }
        Ok(())
    }

    pub(super) fn call(
        &self,
        operation: &str,
        form: &HashMap<String, String>,
        signed: &Signed,
        request_id: &str,
    ) -> Result<String, ApiError> {
        if signed.service != "sts" {
            let message = "Credential should be scoped to correct service: 'sts'.";
            return Err(ApiError::with_status(403, "SignatureDoesNotMatch", message));
        }
        let result = match operation {
            "AssumeRole" => self.assume_role(form, signed)?,
            "GetCallerIdentity" => self.caller_identity(signed),
            other => {
                return Err(ApiError::client("InvalidAction", format!("Could not find operation {other}")));
            }
        };
        Ok(format!(
            "<{operation}Response xmlns=\"{STS_NAMESPACE}\">\n<{operation}Result>\n{result}</{operation}Result>\n\
             <ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>\n</{operation}Response>\n"
        ))
    }

    fn assume_role(&self, form: &HashMap<String, String>, signed: &Signed) -> Result<String, ApiError> {
        let field = |name: &str| form.get(name).map(String::as_str);
        let role_arn = field("RoleArn").unwrap_or_default();
        let session_name = field("RoleSessionName").unwrap_or_default();
        let external_id = field("ExternalId").map(str::to_owned);
        let (account, role) = parse_role(role_arn).ok_or_else(|| invalid(&format!("{role_arn} is invalid")))?;
        if !(2..=64).contains(&session_name.len())
            || !session_name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b))
        {
            return Err(invalid("Member must satisfy regular expression pattern: [\\w+=,.@-]* at 'roleSessionName'"));
        }
        let seconds = match field("DurationSeconds").map(str::parse::<u64>) {
            None => 3600,
            Some(Ok(seconds)) if (900..=43_200).contains(&seconds) => seconds,
            Some(_) => return Err(invalid("'durationSeconds' must be between 900 and 43200")),
        };
        let partition = role_arn.split(':').nth(1).unwrap_or_default();
        if partition != partition_of(&signed.region) {
            let text = format!("{role_arn}: Partition {partition} is not valid for this endpoint");
            return Err(ApiError::with_status(403, "AccessDenied", text));
        }
        let mut state = lock(&self.state);
        let required = state.external_ids.get(role_arn);
        if state.denied.iter().any(|arn| arn == role_arn) || required.is_some_and(|id| external_id.as_ref() != Some(id))
        {
            let caller = caller_arn(&state, signed);
            let message =
                format!("User: {caller} is not authorized to perform: sts:AssumeRole on resource: {role_arn}");
            return Err(ApiError::with_status(403, "AccessDenied", message));
        }
        let number = state.sessions.len();
        // The account stands in the key, so that the other services can tell whose call it is.
        let access_key = format!("ASIA{account}{}", four_letters(number));
        let token = format!("IQoJb3JpZ2luX2Vj-{number}-{account}");
        let expires = rfc3339(SystemTime::now() + Duration::from_secs(seconds));
        let xml = format!(
            "<AssumedRoleUser><AssumedRoleId>AROA{account}:{session_name}</AssumedRoleId>\
             <Arn>arn:aws:sts::{account}:assumed-role/{role}/{session_name}</Arn></AssumedRoleUser>\n\
             <Credentials><AccessKeyId>{access_key}</AccessKeyId><SecretAccessKey>secret-of-{access_key}\
             </SecretAccessKey><SessionToken>{token}</SessionToken><Expiration>{expires}</Expiration></Credentials>\n"
        );
        state.partitions.insert(access_key.clone(), partition.to_owned());
        state.sessions.push(AssumedRole {
            role_arn: role_arn.to_owned(),
            session_name: session_name.to_owned(),
            external_id,
            access_key,
            caller: signed.access_key.clone(),
            token,
            expired: false,
        });
        Ok(xml)
    }

    fn caller_identity(&self, signed: &Signed) -> String {
        let arn = caller_arn(&lock(&self.state), signed);
        let account = account_of(&signed.access_key);
        format!("<Arn>{}</Arn><UserId>AIDA{account}</UserId><Account>{account}</Account>\n", xml_text(&arn))
    }
}

fn caller_arn(state: &State, signed: &Signed) -> String {
    let account = account_of(&signed.access_key);
    let session = state.sessions.iter().find(|session| session.access_key == signed.access_key);
    match session.and_then(|session| Some((parse_role(&session.role_arn)?.1, &session.session_name))) {
        Some((role, session)) => format!("arn:aws:sts::{account}:assumed-role/{role}/{session}"),
        None => format!("arn:aws:iam::{account}:user/test"),
    }
}

fn partition_of(region: &str) -> &'static str {
    match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

/// The account and the name of `arn:PARTITION:iam::ACCOUNT:role/PATH/NAME`.
fn parse_role(arn: &str) -> Option<(&str, &str)> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", _, "iam", "", account, resource] = parts[..] else { return None };
    let name = resource.strip_prefix("role/")?.rsplit('/').next()?;
    let digits = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
    (digits && !name.is_empty()).then_some((account, name))
}

fn invalid(message: &str) -> ApiError {
    ApiError::client("ValidationError", message)
}

fn four_letters(number: usize) -> String {
    let letter = |place: u32| char::from(b'A' + u8::try_from(number / 26_usize.pow(place) % 26).unwrap_or_default());
    (0..4).rev().map(letter).collect()
}

fn rfc3339(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time).replace_nanosecond(0).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc3339).expect("a year of four digits can be written")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: &str = "arn:aws:iam::222233334444:role/path/transship-push";

    fn signed(access_key: &str, token: Option<&str>) -> Signed {
        Signed {
            access_key: access_key.into(),
            region: "us-east-1".into(),
            service: "sts".into(),
            session_token: token.map(str::to_owned),
        }
    }

    fn form(fields: &[(&str, &str)]) -> HashMap<String, String> {
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn assume(sts: &Sts, fields: &[(&str, &str)]) -> Result<String, ApiError> {
        sts.call("AssumeRole", &form(fields), &signed("AKIA111122223333", None), "id")
    }

    #[test]
    fn a_session_key_names_the_account_of_its_role() {
        let sts = Sts::default();
        let xml = assume(&sts, &[("RoleArn", ROLE), ("RoleSessionName", "transship")]).unwrap();
        assert!(xml.contains("<AccessKeyId>ASIA222233334444AAAA</AccessKeyId>"), "{xml}");
        assert!(xml.contains("assumed-role/transship-push/transship"), "{xml}");
        let identity = sts.call("GetCallerIdentity", &form(&[]), &signed("ASIA222233334444AAAA", None), "id").unwrap();
        assert!(identity.contains("<Account>222233334444</Account>"), "{identity}");
        assert_eq!(sts.assumed()[0].caller, "AKIA111122223333");
    }

    #[test]
    fn the_external_id_is_checked_where_one_is_required() {
        let sts = Sts::default();
        sts.require_external_id(ROLE, "s3cret");
        let wrong = assume(&sts, &[("RoleArn", ROLE), ("RoleSessionName", "transship")]).unwrap_err();
        assert_eq!((wrong.status, wrong.code.as_str()), (403, "AccessDenied"));
        assume(&sts, &[("RoleArn", ROLE), ("RoleSessionName", "transship"), ("ExternalId", "s3cret")]).unwrap();
    }

    #[test]
    fn bad_arguments_are_refused() {
        let sts = Sts::default();
        for (role, session, seconds) in
            [("role/x", "transship", "900"), (ROLE, "a b", "900"), (ROLE, "x", "900"), (ROLE, "transship", "899")]
        {
            let fields = [("RoleArn", role), ("RoleSessionName", session), ("DurationSeconds", seconds)];
            assert_eq!(assume(&sts, &fields).unwrap_err().code, "ValidationError");
        }
    }

    #[test]
    fn an_issued_key_needs_its_token_until_it_expires() {
        let sts = Sts::default();
        assume(&sts, &[("RoleArn", ROLE), ("RoleSessionName", "transship")]).unwrap();
        let session = sts.assumed().remove(0);
        let with = signed(&session.access_key, Some(&session.token));
        assert!(sts.check_session(&with).is_ok());
        assert_eq!(
            sts.check_session(&signed(&session.access_key, None)).unwrap_err().code,
            "UnrecognizedClientException"
        );
        sts.expire_sessions();
        assert_eq!(sts.check_session(&with).unwrap_err().code, "ExpiredTokenException");
    }
}
