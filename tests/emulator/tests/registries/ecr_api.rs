//! ECR's control API over the same registries.

use std::time::Duration;

use emulator::{
    Access, Image, Personality, Registry,
    aws::{Api, ApiError, Call, EcrApi, EcrPublicApi},
    digest::sha256,
};
use serde_json::{Value, json};

use crate::common::{World, client, noise};

async fn ask(api: &impl Api, operation: &str, body: Value) -> Result<Value, ApiError> {
    ask_as(api, "AKIA111122223333", operation, body).await
}

async fn ask_as(api: &impl Api, key: &str, operation: &str, body: Value) -> Result<Value, ApiError> {
    let call = Call { operation: operation.into(), region: "us-east-1".into(), access_key: key.into(), body };
    api.call(call).await
}

async fn world() -> (World, EcrApi) {
    let world = World::new(Personality::Ecr).await;
    world.registry.store().create_repository("app");
    let api = EcrApi::new(vec![world.registry.clone()]);
    (world, api)
}

#[tokio::test]
async fn a_token_of_the_api_opens_any_registry_of_the_region() {
    let here = Registry::builder(Personality::Ecr).start().await;
    let there = Registry::builder(Personality::Ecr).account("222233334444").start().await;
    let abroad = Registry::builder(Personality::Ecr).region("eu-west-1").start().await;
    let api = EcrApi::new(vec![here.clone(), there.clone(), abroad.clone()]);
    let answer = ask(&api, "GetAuthorizationToken", json!({})).await.unwrap();
    let data = &answer["authorizationData"][0];
    assert!(data["expiresAt"].is_number());
    let header = format!("Basic {}", data["authorizationToken"].as_str().unwrap());
    for (registry, expected) in [(here, 200), (there, 200), (abroad, 403)] {
        let answer = client().get(format!("{}/v2/", registry.url())).header("authorization", &header).send().await;
        assert_eq!(answer.unwrap().status(), expected);
    }
}

#[tokio::test]
async fn a_short_token_expires() {
    let (world, api) = world().await;
    api.set_token_lifetime(Duration::from_millis(20));
    let answer = ask(&api, "GetAuthorizationToken", json!({})).await.unwrap();
    let header = format!("Basic {}", answer["authorizationData"][0]["authorizationToken"].as_str().unwrap());
    tokio::time::sleep(Duration::from_millis(30)).await;
    let answer = world.client.get(format!("{}/v2/", world.registry.url())).header("authorization", header).send().await;
    assert_eq!(answer.unwrap().status(), 403);
}

#[tokio::test]
async fn availability_lags_and_failures_are_listed() {
    let lag = Duration::from_millis(700);
    let world = World::with(Registry::builder(Personality::Ecr).validation_lag(lag)).await;
    world.registry.store().create_repository("app");
    let api = EcrApi::new(vec![world.registry.clone()]);
    let digest = world.upload("app", b"content").await;
    let body = json!({"repositoryName": "app", "layerDigests": [digest, sha256(b"none"), "nonsense"]});
    let answer = ask(&api, "BatchCheckLayerAvailability", body.clone()).await.unwrap();
    assert_eq!(answer["layers"][0]["layerAvailability"], "UNAVAILABLE");
    assert_eq!(answer["layers"][1]["layerAvailability"], "UNAVAILABLE");
    assert_eq!(answer["failures"][0]["failureCode"], "InvalidLayerDigest");
    tokio::time::sleep(lag).await;
    let answer = ask(&api, "BatchCheckLayerAvailability", body.clone()).await.unwrap();
    assert_eq!(answer["layers"][0]["layerAvailability"], "AVAILABLE");
    assert_eq!(answer["layers"][0]["layerSize"], 7);
    api.report_missing_layers_as_failures(true);
    let answer = ask(&api, "BatchCheckLayerAvailability", body).await.unwrap();
    assert_eq!(answer["failures"][0]["failureCode"], "MissingLayerDigest");
    for count in [0, 101] {
        let digests: Vec<String> = (0..count).map(|n| sha256(&noise(n, 4))).collect();
        let body = json!({"repositoryName": "app", "layerDigests": digests});
        let error = ask(&api, "BatchCheckLayerAvailability", body).await.unwrap_err();
        assert_eq!((error.status, error.code.as_str()), (400, "InvalidParameterException"));
    }
    let body = json!({"repositoryName": "none", "layerDigests": [sha256(b"")]});
    let error = ask(&api, "BatchCheckLayerAvailability", body).await.unwrap_err();
    assert_eq!(error.code, "RepositoryNotFoundException");
    let text = "The repository with name 'none' does not exist in the registry with id '111122223333'";
    assert_eq!(error.message, text);
}

#[tokio::test]
async fn a_repository_is_made_as_asked_and_once() {
    let (world, api) = world().await;
    let body = json!({
        "repositoryName": "team/new",
        "imageTagMutability": "IMMUTABLE_WITH_EXCLUSION",
        "imageTagMutabilityExclusionFilters": [{"filterType": "WILDCARD", "filter": "dev-*"}],
        "imageScanningConfiguration": {"scanOnPush": true},
        "encryptionConfiguration": {"encryptionType": "KMS", "kmsKey": "alias/ecr"},
        "tags": [{"Key": "team", "Value": "platform"}],
    });
    let answer = ask(&api, "CreateRepository", body.clone()).await.unwrap();
    let made = &answer["repository"];
    assert_eq!(made["repositoryArn"], "arn:aws:ecr:us-east-1:111122223333:repository/team/new");
    assert_eq!(made["encryptionConfiguration"]["kmsKey"], "alias/ecr");
    assert!(made["createdAt"].is_number());
    let error = ask(&api, "CreateRepository", body.clone()).await.unwrap_err();
    assert_eq!(error.code, "RepositoryAlreadyExistsException");
    assert_eq!(world.registry.store().settings("team/new").unwrap(), body);
    let arn = json!({"resourceArn": made["repositoryArn"]});
    let tags = ask(&api, "ListTagsForResource", arn).await.unwrap();
    assert_eq!(tags["tags"], json!([{"Key": "team", "Value": "platform"}]));

    let image = Image::small(1);
    image.push_to(world.registry.store(), "team/new", "v1");
    image.push_to(world.registry.store(), "team/new", "dev-1");
    let put = |tag: &'static str| world.put_manifest("team/new", tag, &image.media_type, &image.manifest);
    assert_eq!(put("v1").await.status(), 400);
    assert_eq!(put("dev-1").await.status(), 201);
    for name in ["UPPER", "a", "a//b"] {
        let error = ask(&api, "CreateRepository", json!({"repositoryName": name})).await.unwrap_err();
        assert_eq!(error.code, "InvalidParameterException", "{name}");
    }
}

#[tokio::test]
async fn repositories_and_images_come_in_pages() {
    let (world, api) = world().await;
    for n in 0..5 {
        world.registry.store().create_repository(&format!("more/{n}"));
        Image::small(n).push_to(world.registry.store(), "app", &format!("v{n}"));
    }
    for (operation, list, body) in [
        ("DescribeRepositories", "repositories", json!({"maxResults": 4})),
        ("ListImages", "imageIds", json!({"maxResults": 4, "repositoryName": "app"})),
        ("DescribeImages", "imageDetails", json!({"maxResults": 4, "repositoryName": "app"})),
    ] {
        let mut body = body;
        let first = ask(&api, operation, body.clone()).await.unwrap();
        assert_eq!(first[list].as_array().unwrap().len(), 4, "{operation}");
        body["nextToken"] = first["nextToken"].clone();
        let second = ask(&api, operation, body).await.unwrap();
        assert!(!second[list].as_array().unwrap().is_empty(), "{operation}");
        assert!(second.get("nextToken").is_none(), "{operation}");
    }
    let named = json!({"repositoryNames": ["app", "none"]});
    let error = ask(&api, "DescribeRepositories", named).await.unwrap_err();
    assert_eq!(error.code, "RepositoryNotFoundException");
}

#[tokio::test]
async fn images_are_found_by_tag_and_digest() {
    let (world, api) = world().await;
    let image = Image::small(1);
    image.push_to(world.registry.store(), "app", "v1");
    let by_tag = json!({"repositoryName": "app", "imageIds": [{"imageTag": "v1"}, {"imageTag": "v2"}]});
    let answer = ask(&api, "BatchGetImage", by_tag.clone()).await.unwrap();
    assert_eq!(answer["images"][0]["imageId"]["imageDigest"], image.digest);
    assert_eq!(answer["images"][0]["imageManifest"].as_str().unwrap().as_bytes(), &image.manifest[..]);
    assert_eq!(answer["failures"][0]["failureCode"], "ImageNotFound");
    assert_eq!(ask(&api, "DescribeImages", by_tag).await.unwrap_err().code, "ImageNotFoundException");
    let body = json!({"repositoryName": "app", "layerDigest": image.layers[0].digest()});
    let answer = ask(&api, "GetDownloadUrlForLayer", body).await.unwrap();
    let bytes = client().get(answer["downloadUrl"].as_str().unwrap()).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(sha256(&bytes), image.layers[0].digest());
}

#[tokio::test]
async fn denials_and_quotas_are_awss() {
    let (world, api) = world().await;
    world.registry.store().deny("app", Access::Pull);
    let body = json!({"repositoryName": "app", "layerDigests": [sha256(b"")]});
    let error = ask(&api, "BatchCheckLayerAvailability", body).await.unwrap_err();
    assert_eq!(error.code, "AccessDeniedException");
    api.deny("CreateRepository");
    let key = "ASIA111122223333WXYZ";
    let error = ask_as(&api, key, "CreateRepository", json!({"repositoryName": "x/y"})).await.unwrap_err();
    assert!(error.message.starts_with("User: arn:aws:sts::111122223333:assumed-role/"), "{}", error.message);

    let registry = Registry::builder(Personality::Ecr).rate_limit("DescribeRepositories", 1).start().await;
    let api = EcrApi::new(vec![registry]);
    assert!(ask(&api, "DescribeRepositories", json!({})).await.is_ok());
    let error = ask(&api, "DescribeRepositories", json!({})).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.message.as_str()), ("ThrottlingException", "Rate exceeded"));
}

#[tokio::test]
async fn the_account_setting_switches_mounting() {
    let (world, api) = world().await;
    world.registry.store().create_repository("copy");
    let image = Image::small(1);
    image.push_to(world.registry.store(), "app", "v1");
    let setting = json!({"name": "BLOB_MOUNTING", "value": "ENABLED"});
    assert_eq!(ask(&api, "PutAccountSetting", setting.clone()).await.unwrap(), setting);
    let digest = image.layers[0].digest();
    let answer = world.post(&format!("/v2/copy/blobs/uploads/?mount={digest}&from=app")).send().await.unwrap();
    assert_eq!(answer.status(), 201);
}

#[tokio::test]
async fn ecr_public_gives_one_token_for_its_token_service() {
    let registry = Registry::builder(Personality::EcrPublic).start().await;
    let api = EcrPublicApi::new(vec![registry.clone()]);
    let answer = ask(&api, "GetAuthorizationToken", json!({})).await.unwrap();
    let token = answer["authorizationData"]["authorizationToken"].as_str().unwrap().to_owned();
    ask(&api, "CreateRepository", json!({"repositoryName": "app"})).await.unwrap();
    let strict = ask(&api, "CreateRepository", json!({"repositoryName": "b", "imageTagMutability": "IMMUTABLE"})).await;
    assert_eq!(strict.unwrap_err().code, "SerializationException");
    let path = format!("{}/v2/acme/app/blobs/uploads/", registry.url());
    let answer = client().post(&path).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    let realm = format!("{}/token/?service=public.ecr.aws&scope=aws", registry.url());
    let exchanged = client().get(realm).header("authorization", format!("Basic {token}")).send().await.unwrap();
    let body: Value = serde_json::from_str(&exchanged.text().await.unwrap()).unwrap();
    let bearer = body["token"].as_str().unwrap();
    assert_eq!(client().post(&path).bearer_auth(bearer).send().await.unwrap().status(), 202);
    assert_eq!(client().post(&path).bearer_auth(&token).send().await.unwrap().status(), 202);
    let digest = registry.store().put_blob("acme/app", "content");
    let blob = format!("{}/v2/acme/app/blobs/{digest}", registry.url());
    assert_eq!(client().head(&blob).bearer_auth(bearer).send().await.unwrap().status(), 401);
    assert_eq!(client().get(&blob).bearer_auth(bearer).send().await.unwrap().status(), 307);
    let tags = format!("{}/v2/acme/app/tags/list", registry.url());
    assert_eq!(client().get(tags).bearer_auth(bearer).send().await.unwrap().status(), 405);
}

#[tokio::test]
async fn ecr_public_tells_the_aliases_of_the_callers_registry() {
    let builder = Registry::builder(Personality::EcrPublic).alias("a1b2c3d4").account("111122223333");
    let builder = builder.further_alias("wished", "PENDING").further_alias("brand", "ACTIVE");
    let api = EcrPublicApi::new(vec![builder.start().await]);
    let answer = ask(&api, "DescribeRegistries", json!({})).await.unwrap();
    let registry = &answer["registries"][0];
    assert_eq!(registry["registryUri"], "public.ecr.aws/brand");
    assert_eq!(registry["registryId"], "111122223333");
    let alias = |name: &str, status: &str, primary: bool, default: bool| json!({"name": name, "status": status, "primaryRegistryAlias": primary, "defaultRegistryAlias": default});
    let expected = [
        alias("a1b2c3d4", "ACTIVE", false, true),
        alias("wished", "PENDING", false, false),
        alias("brand", "ACTIVE", true, false),
    ];
    assert_eq!(registry["aliases"], json!(expected));
    let without = EcrPublicApi::new(Vec::new());
    assert_eq!(ask(&without, "DescribeRegistries", json!({})).await.unwrap(), json!({"registries": []}));
}

#[tokio::test]
async fn exclusion_filters_are_checked() {
    let (_world, api) = world().await;
    let create = |filter: Value| {
        let body = json!({
            "repositoryName": "team/filtered",
            "imageTagMutability": "MUTABLE_WITH_EXCLUSION",
            "imageTagMutabilityExclusionFilters": [filter],
        });
        ask(&api, "CreateRepository", body)
    };
    for wrong in [
        json!({"filterType": "REGEX", "filter": "v*"}),
        json!({"filter": "v*"}),
        json!({"filterType": "WILDCARD", "filter": "v+"}),
        json!({"filterType": "WILDCARD", "filter": "*a*b*"}),
        json!({"filterType": "WILDCARD", "filter": ""}),
    ] {
        assert_eq!(create(wrong.clone()).await.unwrap_err().code, "InvalidParameterException", "{wrong}");
    }
    create(json!({"filterType": "WILDCARD", "filter": "*-v*"})).await.unwrap();
}

#[tokio::test]
async fn an_archived_image_is_listed_and_not_pulled_until_it_is_pushed_again() {
    let (world, api) = world().await;
    let store = world.registry.store();
    let image = Image::small(1);
    image.push_to(store, "app", "v1");
    let contents: Vec<_> = image.blobs().iter().map(|blob| store.blob_bytes("app", blob).unwrap()).collect();
    store.archive("app", &image.digest);
    let id = json!({"repositoryName": "app", "imageIds": [{"imageTag": "v1"}]});
    assert_eq!(ask(&api, "DescribeImages", id.clone()).await.unwrap_err().code, "ImageNotFoundException");
    let mut any = id;
    any["filter"] = json!({"imageStatus": "ANY"});
    let answer = ask(&api, "DescribeImages", any.clone()).await.unwrap();
    assert_eq!(answer["imageDetails"][0]["imageStatus"], "ARCHIVED");
    let listed = |filter: Value| ask(&api, "ListImages", json!({"repositoryName": "app", "filter": filter}));
    assert_eq!(listed(json!({})).await.unwrap()["imageIds"], json!([]));
    let ids = listed(json!({"imageStatus": "ARCHIVED"})).await.unwrap()["imageIds"].clone();
    assert_eq!(ids, json!([{"imageDigest": image.digest, "imageTag": "v1"}]));
    let layers = json!({"repositoryName": "app", "layerDigests": image.blobs()});
    let answer = ask(&api, "BatchCheckLayerAvailability", layers).await.unwrap();
    assert!(answer["layers"].as_array().unwrap().iter().all(|layer| layer["layerAvailability"] == "ARCHIVED"));
    let put = world.put_manifest("app", "v1", &image.media_type, &image.manifest).await;
    assert_eq!(put.status(), 404, "its layers are to be sent again");
    for bytes in contents {
        world.upload("app", &bytes).await;
    }
    assert_eq!(world.put_manifest("app", "v1", &image.media_type, &image.manifest).await.status(), 201);
    let answer = ask(&api, "DescribeImages", any).await.unwrap();
    assert_eq!(answer["imageDetails"][0]["imageStatus"], "ACTIVE");
}
