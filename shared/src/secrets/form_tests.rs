use serde_json::json;

use super::*;

fn wanted(host: &str) -> Wanted<'_> {
    Wanted { host, provider: Provider::of_host(host), repository: "acme/team/app" }
}

fn read(text: &str, host: &str) -> Result<Login, String> {
    parse(text, wanted(host))
}

fn user(login: &Login) -> (&str, &str) {
    match login {
        Login::Password { user, password } => (user, password.reveal()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_documented_form_is_read() {
    assert_eq!(user(&read("robot$a:p:w\n", "quay.io").unwrap()), ("robot$a", "p:w"));
    assert_eq!(user(&read(r#"{"username":"u","password":"p"}"#, "quay.io").unwrap()), ("u", "p"));
    let config = format!(
        r#"{{"auths":{{"https://index.docker.io/v1/":{{"auth":"{}"}},"ghcr.io":{{"username":"g","password":"h"}},
           "acme.azurecr.io":{{"identitytoken":"t"}}}}}}"#,
        BASE64_STANDARD.encode("hub:pw")
    );
    assert_eq!(user(&read(&config, "docker.io").unwrap()), ("hub", "pw"));
    assert_eq!(user(&read(&config, "ghcr.io").unwrap()), ("g", "h"));
    assert_eq!(read(&config, "acme.azurecr.io").unwrap(), Login::IdentityToken(Secret::new("t")));
    assert!(read(&config, "quay.io").unwrap_err().contains("no entry for quay.io"));
}

#[test]
fn a_secret_that_cant_be_read_is_not_repeated() {
    for text in ["hunter2", r#"{"hunter2":1}"#, r#"{"auths":{"quay.io":{"auth":"hunter2"}}}"#] {
        let reason = read(text, "quay.io").unwrap_err();
        assert!(!reason.contains("hunter2"), "{reason}");
    }
    assert_eq!(format!("{:?}", read("u:hunter2", "x").unwrap()).matches("hunter2").count(), 0);
}

#[test]
fn the_longest_path_that_a_repository_lies_in_wins_whatever_the_order() {
    let entry = |name: &str| json!({ "username": name, "password": "p" });
    let keys = ["quay.io", "quay.io/acme", "quay.io/acme/team", "quay.io/acme/team/app/more", "quay.io/acme/te"];
    for turn in 0..keys.len() {
        let mut turned = keys;
        turned.rotate_left(turn);
        let entries: Vec<_> = turned.iter().map(|key| format!("{}:{}", json!(key), entry(key))).collect();
        let config = format!(r#"{{"auths":{{{}}}}}"#, entries.join(","));
        assert_eq!(user(&read(&config, "quay.io").unwrap()).0, "quay.io/acme/team");
        let other = Wanted { repository: "acme2/app", ..wanted("quay.io") };
        assert_eq!(user(&parse(&config, other).unwrap()).0, "quay.io");
    }
    let config = json!({ "auths": { "ghcr.io/other": entry("other") } }).to_string();
    assert!(read(&config, "ghcr.io").unwrap_err().contains("no entry"), "another's part is nobody else's");
}

#[test]
fn of_two_keys_for_one_registry_the_same_one_is_always_taken() {
    let entry = |name: &str| json!({ "username": name, "password": "p" });
    let config = json!({ "auths": {
        "https://index.docker.io/v1/": entry("legacy"), "docker.io": entry("plain"), "index.docker.io/v2": entry("v2"),
    } });
    assert_eq!(user(&read(&config.to_string(), "docker.io").unwrap()).0, "plain");
    let config = json!({ "auths": { "https://ghcr.io/v2/": entry("b"), "http://ghcr.io": entry("a") } });
    assert_eq!(user(&read(&config.to_string(), "ghcr.io").unwrap()).0, "a");
}

#[test]
fn a_service_accounts_key_file_is_a_password_for_artifact_registry_alone() {
    let key = json!({ "type": "service_account", "client_email": "a@b", "private_key": "hunter2" }).to_string();
    for host in ["europe-docker.pkg.dev", "gcr.io"] {
        assert_eq!(user(&read(&key, host).unwrap()), ("_json_key", key.as_str()));
    }
    let text = format!("_json_key:{key}");
    assert_eq!(user(&read(&text, "gcr.io").unwrap()), ("_json_key", key.as_str()), "as text, too");
    let reason = read(&key, "ghcr.io").unwrap_err();
    assert!(reason.contains("Google service account") && !reason.contains("hunter2"), "{reason}");
    assert!(read(&key.replace("service_account", "authorized_user"), "gcr.io").is_err());
}

#[test]
fn an_application_of_entra_is_for_acr_alone() {
    let text = json!({ "tenant": "t", "client_id": "c", "client_secret": "hunter2" }).to_string();
    let principal =
        ServicePrincipal { tenant: "t".into(), client_id: "c".into(), client_secret: Secret::new("hunter2") };
    assert_eq!(read(&text, "acme.azurecr.io").unwrap(), Login::ServicePrincipal(principal));
    let reason = read(&text, "registry.example.test").unwrap_err();
    assert!(reason.contains("Entra") && !reason.contains("hunter2"), "{reason}");
}
