//! Credentials: `Basic`, and Bearer tokens with scopes.

use std::time::Duration;

use emulator::{Authorization, Kind, Origin, Personality, Registry, digest::sha256};
use serde_json::Value;

use crate::common::{World, client, header};

async fn token(registry: &Registry, query: &str, user: Option<(&str, &str)>) -> (u16, Value) {
    let origin = registry.token_origin().unwrap_or_else(|| registry.host());
    let request = client().get(format!("http://{origin}/token?service={}&{query}", registry.host()));
    let request = match user {
        Some((user, password)) => request.basic_auth(user, Some(password)),
        None => request,
    };
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
}

#[tokio::test]
async fn basic_credentials_are_checked() {
    let world = World::with(Registry::builder(Personality::Plain).basic("me", "secret").anonymous_pull()).await;
    let url = |path: &str| format!("{}{path}", world.registry.url());
    let post = || world.client.post(url("/v2/a/blobs/uploads/"));
    assert_eq!(post().send().await.unwrap().status(), 401);
    assert_eq!(post().basic_auth("me", Some("wrong")).send().await.unwrap().status(), 401);
    assert_eq!(post().basic_auth("me", Some("secret")).send().await.unwrap().status(), 202);
    assert_eq!(world.client.get(url("/v2/a/tags/list")).send().await.unwrap().status(), 404);
    let entries = world.registry.journal().of(Kind::UploadStart);
    assert_eq!(entries[0].authorization, Authorization::None);
    assert_eq!(entries[1].authorization, Authorization::Basic);
}

#[tokio::test]
async fn a_token_is_for_its_scope_and_for_a_while() {
    let builder = Registry::builder(Personality::Plain)
        .token_server("me", "secret")
        .anonymous_pull()
        .token_lifetime(Duration::from_millis(1000));
    let registry = builder.start().await;
    let base = registry.url();
    let start = |bearer: String| client().post(format!("{base}/v2/a/blobs/uploads/")).bearer_auth(bearer).send();

    let challenge = client().post(format!("{base}/v2/a/blobs/uploads/")).send().await.unwrap();
    let expected = format!(
        "Bearer realm=\"http://{}/token\",service=\"{}\",scope=\"repository:a:pull,push\"",
        registry.token_origin().unwrap(),
        registry.host()
    );
    assert_eq!(header(&challenge, "www-authenticate"), expected);
    assert_eq!(token(&registry, "scope=repository:a:pull", Some(("me", "wrong"))).await.0, 401);

    let (_, anonymous) = token(&registry, "scope=repository:a:pull,push", None).await;
    let refused = start(anonymous["token"].as_str().unwrap().into()).await.unwrap();
    assert!(header(&refused, "www-authenticate").ends_with("error=\"insufficient_scope\""));
    let (_, body) = token(&registry, "scope=repository:a:pull,push", Some(("me", "secret"))).await;
    assert_eq!(body["token"], body["access_token"]);
    let bearer = body["token"].as_str().unwrap().to_owned();
    assert_eq!(start(bearer.clone()).await.unwrap().status(), 202);
    let other = client().get(format!("{base}/v2/b/tags/list")).bearer_auth(&bearer).send().await.unwrap();
    assert_eq!(other.status(), 401);
    tokio::time::sleep(Duration::from_millis(1050)).await;
    let late = start(bearer).await.unwrap();
    assert!(header(&late, "www-authenticate").ends_with("error=\"invalid_token\""));
    assert_eq!(registry.journal().count_at(Origin::Tokens, Kind::Token), 3);
}

#[tokio::test]
async fn a_form_with_a_password_or_refresh_token_gives_a_token() {
    let registry = Registry::builder(Personality::Acr).token_server("me", "secret").start().await;
    let service = registry.host();
    let post = |form: String| {
        let request = client().post(format!("{}/oauth2/token", registry.url()));
        request.header("content-type", "application/x-www-form-urlencoded").body(form).send()
    };
    let form = format!(
        "grant_type=password&service={service}&access_type=offline&username=me&password=secret\
         &scope=repository%3Aa%3Apull"
    );
    let answer = post(form).await.unwrap();
    let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert!(body.get("token").is_none());
    let refresh = body["refresh_token"].as_str().unwrap().replace('+', "%2B");
    let form = format!(
        "grant_type=refresh_token&service={service}&refresh_token={refresh}&scope=repository:a:pull+repository:b:pull"
    );
    let answer = post(form).await.unwrap();
    let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    let bearer = body["access_token"].as_str().unwrap();
    let answer = client().get(format!("{}/v2/b/tags/list", registry.url())).bearer_auth(bearer).send().await;
    assert_eq!(answer.unwrap().status(), 404);
}

#[tokio::test]
async fn a_mount_needs_to_read_the_source() {
    let registry = Registry::builder(Personality::Plain).token_server("me", "secret").start().await;
    let digest = registry.store().put_blob("a", "content");
    assert_eq!(digest, sha256(b"content"));
    for (scopes, expected) in
        [("scope=repository:b:pull,push", 202), ("scope=repository:b:pull,push&scope=repository:a:pull", 201)]
    {
        let (_, body) = token(&registry, scopes, Some(("me", "secret"))).await;
        let url = format!("{}/v2/b/blobs/uploads/?mount={digest}&from=a", registry.url());
        let answer = client().post(url).bearer_auth(body["token"].as_str().unwrap()).send().await.unwrap();
        assert_eq!(answer.status(), expected);
    }
}

#[tokio::test]
async fn a_token_tells_how_long_it_holds_and_since_when() {
    let registry = Registry::builder(Personality::Plain).token_server("me", "secret").start().await;
    let (_, body) = token(&registry, "scope=repository:a:pull", Some(("me", "secret"))).await;
    assert_eq!(body["expires_in"], 300);
    let issued = body["issued_at"].as_str().unwrap();
    assert!(issued.starts_with("20") && issued.ends_with('Z') && issued.len() == 20, "{issued}");
}

#[tokio::test]
async fn ecr_publics_token_is_for_the_scope_that_its_challenge_names() {
    let registry = Registry::builder(Personality::EcrPublic).alias("acme").start().await;
    registry.store().create_repository("acme/app");
    let base = registry.url();
    let list = |bearer: &str| client().head(format!("{base}/v2/acme/app/manifests/v1")).bearer_auth(bearer).send();
    let challenge = client().get(format!("{base}/v2/acme/app/manifests/v1")).send().await.unwrap();
    let expected = format!("Bearer realm=\"{base}/token/\",service=\"public.ecr.aws\",scope=\"aws\"");
    assert_eq!((challenge.status().as_u16(), header(&challenge, "www-authenticate")), (401, expected));
    for (scope, status) in [
        ("scope=aws", 404),
        ("scope=repository:acme/app:pull&scope=aws", 404),
        ("scope=repository:acme/app:pull%20aws", 404),
        ("scope=repository:acme/app:pull", 401),
        ("", 401),
    ] {
        let answer = client().get(format!("{base}/token/?service=public.ecr.aws&{scope}")).send().await.unwrap();
        let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        let answer = list(body["token"].as_str().unwrap()).await.unwrap();
        assert_eq!(answer.status(), status, "{scope}");
    }
}

#[tokio::test]
async fn ecr_public_calls_an_old_token_a_bad_request_and_asks_for_nothing() {
    let registry = Registry::builder(Personality::EcrPublic).start().await;
    let base = registry.url();
    let answer = client().get(format!("{base}/token/?service=public.ecr.aws&scope=aws")).send().await.unwrap();
    let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    registry.expire_tokens();
    let request = client().get(format!("{base}/v2/acme/app/manifests/v1"));
    let answer = request.bearer_auth(body["token"].as_str().unwrap()).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers().get("www-authenticate")), (400, None));
    assert!(answer.text().await.unwrap().contains("token has expired"));
}
