//! SSM: `GetParameter`, plain and secure.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::Mutex,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Api, ApiError, Call, account_of, server::lock};

/// The parameters, the same in every region.
#[derive(Default)]
pub struct Parameters {
    parameters: Mutex<HashMap<String, Parameter>>,
}

struct Parameter {
    value: String,
    secure: bool,
    version: u64,
}

impl Parameters {
    /// Puts a `String` parameter, or a new version of it.
    pub fn put(&self, name: &str, value: &str) {
        self.store(name, value, false);
    }

    /// Puts a `SecureString` parameter, or a new version of it.
    pub fn put_secure(&self, name: &str, value: &str) {
        self.store(name, value, true);
    }

    fn store(&self, name: &str, value: &str, secure: bool) {
        let mut parameters = lock(&self.parameters);
        let version = parameters.get(name).map_or(1, |parameter| parameter.version + 1);
        parameters.insert(name.to_owned(), Parameter { value: value.to_owned(), secure, version });
    }

    fn get(&self, call: &Call) -> Result<Value, ApiError> {
        let asked = call.body["Name"].as_str().unwrap_or_default();
        let name = match asked.split_once(":parameter/") {
            Some((_, name)) if asked.starts_with("arn:") => name,
            _ => asked,
        };
        let parameters = lock(&self.parameters);
        // The ARN of `/a/b` ends in `parameter/a/b`, the ARN of `a` in `parameter/a`.
        let found = [name.to_owned(), format!("/{name}")].into_iter().find_map(|name| parameters.get_key_value(&name));
        let Some((name, parameter)) = found else {
            return Err(ApiError::client("ParameterNotFound", ""));
        };
        let decrypted = !parameter.secure || call.body["WithDecryption"] == true;
        let value = if decrypted { parameter.value.clone() } else { STANDARD.encode(format!("kms:{name}")) };
        let (region, account) = (&call.region, account_of(&call.access_key));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(json!({ "Parameter": {
            "ARN": format!("arn:aws:ssm:{region}:{account}:parameter/{}", name.trim_start_matches('/')),
            "DataType": "text",
            "LastModifiedDate": now.as_secs_f64(),
            "Name": name,
            "Type": if parameter.secure { "SecureString" } else { "String" },
            "Value": value,
            "Version": parameter.version,
        }}))
    }
}

impl Api for Parameters {
    fn target(&self) -> &'static str {
        "AmazonSSM"
    }

    fn call(&self, call: Call) -> Pin<Box<dyn Future<Output = Result<Value, ApiError>> + Send + '_>> {
        Box::pin(async move {
            match call.operation.as_str() {
                "GetParameter" => self.get(&call),
                _ => Err(ApiError::client("UnknownOperationException", "")),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(parameters: &Parameters, body: Value) -> Result<Value, ApiError> {
        parameters.get(&Call {
            operation: "GetParameter".into(),
            region: "us-east-1".into(),
            access_key: "AKIA111122223333".into(),
            body,
        })
    }

    #[test]
    fn a_parameter_is_found_by_name_and_by_arn() {
        let parameters = Parameters::default();
        parameters.put("/transship/config", "{}");
        for name in ["/transship/config", "arn:aws:ssm:us-east-1:111122223333:parameter/transship/config"] {
            assert_eq!(get(&parameters, json!({ "Name": name })).unwrap()["Parameter"]["Value"], "{}");
        }
        assert_eq!(get(&parameters, json!({ "Name": "other" })).unwrap_err().code, "ParameterNotFound");
    }

    #[test]
    fn a_secure_parameter_is_read_only_with_decryption() {
        let parameters = Parameters::default();
        parameters.put_secure("config", "{}");
        assert_ne!(get(&parameters, json!({ "Name": "config" })).unwrap()["Parameter"]["Value"], "{}");
        let plain = get(&parameters, json!({ "Name": "config", "WithDecryption": true })).unwrap();
        assert_eq!(plain["Parameter"]["Value"], "{}");
    }
}
