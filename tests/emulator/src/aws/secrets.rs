//! Secrets Manager: `GetSecretValue`, by name, by ARN, or by an ARN without its random suffix.

use std::{
    future::Future,
    pin::Pin,
    sync::Mutex,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Api, ApiError, Call, DEFAULT_ACCOUNT, DEFAULT_REGION, account_of, server::lock};

/// The secrets of all accounts and regions.
#[derive(Default)]
pub struct Secrets {
    secrets: Mutex<Vec<Secret>>,
}

struct Secret {
    name: String,
    arn: String,
    region: String,
    account: String,
    version: usize,
    content: Content,
}

enum Content {
    Text(String),
    Binary(Vec<u8>),
}

impl Secrets {
    /// Puts a secret into the default account and region, or a new version of it. Answers its ARN.
    pub fn put(&self, name: &str, text: &str) -> String {
        self.put_in(DEFAULT_REGION, DEFAULT_ACCOUNT, name, text)
    }

    /// Puts a secret into this region and account. Answers its ARN.
    pub fn put_in(&self, region: &str, account: &str, name: &str, text: &str) -> String {
        self.store(region, account, name, Content::Text(text.to_owned()))
    }

    /// Puts a secret that is bytes instead of text. Answers its ARN.
    pub fn put_binary(&self, name: &str, bytes: &[u8]) -> String {
        self.store(DEFAULT_REGION, DEFAULT_ACCOUNT, name, Content::Binary(bytes.to_vec()))
    }

    fn store(&self, region: &str, account: &str, name: &str, content: Content) -> String {
        let mut secrets = lock(&self.secrets);
        let known = secrets.iter_mut().find(|s| s.name == name && s.region == region && s.account == account);
        if let Some(secret) = known {
            secret.content = content;
            secret.version += 1;
            return secret.arn.clone();
        }
        let arn = format!("arn:aws:secretsmanager:{region}:{account}:secret:{name}-{:06}", secrets.len());
        secrets.push(Secret {
            name: name.to_owned(),
            arn: arn.clone(),
            region: region.to_owned(),
            account: account.to_owned(),
            version: 1,
            content,
        });
        arn
    }

    fn get(&self, call: &Call) -> Result<Value, ApiError> {
        let id = call.body["SecretId"].as_str().unwrap_or_default();
        if id.is_empty() {
            return Err(ApiError::client("InvalidParameterException", "You must specify a secret id."));
        }
        let secrets = lock(&self.secrets);
        // An ARN of another region is asked for at the wrong endpoint: it is not found there.
        let found = secrets.iter().filter(|secret| secret.region == call.region).find(|secret| {
            let partial = &secret.arn[..secret.arn.len() - SUFFIX];
            secret.arn == id || partial == id || (secret.name == id && secret.account == account_of(&call.access_key))
        });
        let Some(secret) = found else {
            let message = "Secrets Manager can't find the specified secret.";
            return Err(ApiError::client("ResourceNotFoundException", message));
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut answer = json!({
            "ARN": secret.arn,
            "Name": secret.name,
            "VersionId": format!("00000000-0000-4000-9000-{:012}", secret.version),
            "VersionStages": ["AWSCURRENT"],
            "CreatedDate": now.as_secs_f64(),
        });
        match &secret.content {
            Content::Text(text) => answer["SecretString"] = text.as_str().into(),
            Content::Binary(bytes) => answer["SecretBinary"] = STANDARD.encode(bytes).into(),
        }
        Ok(answer)
    }
}

/// The hyphen and six characters that end the ARN of every secret.
const SUFFIX: usize = 7;

impl Api for Secrets {
    fn target(&self) -> &'static str {
        "secretsmanager"
    }

    fn call(&self, call: Call) -> Pin<Box<dyn Future<Output = Result<Value, ApiError>> + Send + '_>> {
        Box::pin(async move {
            match call.operation.as_str() {
                "GetSecretValue" => self.get(&call),
                _ => Err(ApiError::client("UnknownOperationException", "")),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(secrets: &Secrets, region: &str, id: &str) -> Result<Value, ApiError> {
        secrets.get(&Call {
            operation: "GetSecretValue".into(),
            region: region.into(),
            access_key: "AKIA111122223333".into(),
            body: json!({ "SecretId": id }),
        })
    }

    #[test]
    fn a_secret_is_found_by_name_and_by_arn() {
        let secrets = Secrets::default();
        let arn = secrets.put("ghcr", "user:pass");
        for id in ["ghcr", arn.as_str(), "arn:aws:secretsmanager:us-east-1:111122223333:secret:ghcr"] {
            assert_eq!(get(&secrets, "us-east-1", id).unwrap()["SecretString"], "user:pass");
        }
    }

    #[test]
    fn an_unknown_secret_or_another_region_is_not_found() {
        let secrets = Secrets::default();
        let arn = secrets.put("ghcr", "user:pass");
        assert_eq!(get(&secrets, "us-east-1", "quay").unwrap_err().code, "ResourceNotFoundException");
        assert_eq!(get(&secrets, "eu-west-1", &arn).unwrap_err().code, "ResourceNotFoundException");
    }

    #[test]
    fn a_new_version_keeps_the_arn() {
        let secrets = Secrets::default();
        let first = secrets.put("ghcr", "old");
        assert_eq!(secrets.put("ghcr", "new"), first);
        assert_eq!(get(&secrets, "us-east-1", &first).unwrap()["SecretString"], "new");
        secrets.put_binary("raw", b"\x00\x01");
        assert_eq!(get(&secrets, "us-east-1", "raw").unwrap()["SecretBinary"], "AAE=");
    }
}
