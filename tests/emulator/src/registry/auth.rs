//! Who asks, and whether they may.

use crate::{
    journal::Kind,
    ledger,
    registry::{
        Credentials, Personality, Shared,
        reply::{Halt, Reply, refuse},
        route::Target,
        server::Head,
        tokens::PUBLIC_SCOPE,
    },
    store::Access,
    token::{self, BearerClaims, EcrClaims, Rejected},
};

const EXPIRED: &str = "Your authorization token has expired. Reauthenticate and try again.";

/// Who asks.
pub(super) struct Caller {
    /// The principal of an ECR token.
    principal: Option<String>,
    /// What a Bearer token allows.
    bearer: Option<BearerClaims>,
}

impl Caller {
    const ANYBODY: Self = Self { principal: None, bearer: None };

    /// Whether a mount from `repository` may read there.
    pub(super) fn may_pull(&self, repository: &str) -> bool {
        self.bearer.as_ref().is_none_or(|claims| allows(claims, repository, "pull"))
    }
}

/// Checks the credentials of a request.
pub(super) fn authorize(shared: &Shared, head: &Head) -> Result<Caller, Halt> {
    let header = head.text("authorization");
    let caller = match &shared.credentials {
        Credentials::Open => Caller::ANYBODY,
        Credentials::Basic { user, password } => {
            let good = header.and_then(token::basic).is_some_and(|(u, p)| u == *user && p == *password);
            let anonymous = header.is_none() && shared.anonymous_pull && reads(head);
            if !good && !anonymous {
                return Err(unauthorized(r#"Basic realm="emulator""#));
            }
            Caller::ANYBODY
        }
        Credentials::Ecr => ecr(shared, head, header)?,
        Credentials::Tokens { .. } => bearer(shared, head, header)?,
    };
    note(shared, head, &caller);
    denied(shared, head, &caller)?;
    Ok(caller)
}

/// Writes a request of AWS's registries into the ledger of rights, as the call that it stands for.
fn note(shared: &Shared, head: &Head, caller: &Caller) {
    let (Some(principal), Some(operation)) = (&caller.principal, operation(head.kind)) else { return };
    let service = match shared.personality {
        Personality::Ecr => "ecr",
        Personality::EcrPublic => "ecr-public",
        _ => return,
    };
    let repository = head.target.repository();
    let from = head.query.get("from").filter(|_| head.kind == Kind::Mount);
    let (account, region) = (&shared.account, &shared.region);
    let key = format!("{principal} {service} {operation} {region} {account} {repository:?} {from:?}");
    ledger::note("request", &key, || {
        serde_json::json!({
            "principal": principal, "service": service, "operation": operation, "region": region, "account": account,
            "repository": repository, "from": from,
        })
    });
}

/// Whether the request only reads.
pub(super) fn reads(head: &Head) -> bool {
    matches!(head.method.as_str(), "GET" | "HEAD") && !matches!(head.target, Target::Upload { .. })
}

/// The call of ECR's API that a request stands for; its name is in quotas and IAM actions.
pub(super) fn operation(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::ManifestHead | Kind::ManifestGet => Some("BatchGetImage"),
        Kind::ManifestPut => Some("PutImage"),
        Kind::ManifestDelete => Some("BatchDeleteImage"),
        Kind::BlobHead => Some("BatchCheckLayerAvailability"),
        Kind::BlobGet => Some("GetDownloadUrlForLayer"),
        Kind::UploadStart | Kind::Mount => Some("InitiateLayerUpload"),
        Kind::UploadPatch => Some("UploadLayerPart"),
        Kind::UploadPut => Some("CompleteLayerUpload"),
        Kind::TagsList => Some("ListImages"),
        Kind::Referrers => Some("ListImageReferrers"),
        Kind::Catalog => Some("DescribeRepositories"),
        _ => None,
    }
}

/// AWS's text for a call that no policy allows.
pub(crate) fn denied_text(shared: &Shared, principal: &str, operation: &str, repository: &str) -> String {
    let (account, region) = (&shared.account, &shared.region);
    format!(
        "User: {principal} is not authorized to perform: ecr:{operation} on resource: \
         arn:aws:ecr:{region}:{account}:repository/{repository} because no identity-based policy allows the \
         ecr:{operation} action"
    )
}

fn denied(shared: &Shared, head: &Head, caller: &Caller) -> Result<(), Halt> {
    let Some(repository) = head.target.repository() else { return Ok(()) };
    // A HEAD of a blob belongs to pushing at ECR as much as to pulling.
    let access = if reads(head) { Access::Pull } else { Access::Push };
    if !shared.store.is_denied(repository, access) {
        return Ok(());
    }
    let text = match operation(head.kind).filter(|_| shared.traits.ecr) {
        Some(operation) => {
            let principal = caller.principal.as_deref().unwrap_or("anonymous");
            denied_text(shared, principal, operation, repository)
        }
        None => "requested access to the resource is denied".to_owned(),
    };
    Err(refuse(403, "DENIED", &text))
}

fn ecr(shared: &Shared, head: &Head, header: Option<&str>) -> Result<Caller, Halt> {
    let Some(header) = header else {
        let challenge = format!(r#"Basic realm="{}/",service="ecr.amazonaws.com""#, shared.url_of(&head.authority));
        return Err(Reply::new(401)
            .header("www-authenticate", challenge)
            .body("text/plain; charset=utf-8", "Not Authorized\n")
            .into());
    };
    let invalid = || refuse(403, "DENIED", "Your Authorization Token is invalid.");
    let (user, password) = token::basic(header).ok_or_else(invalid)?;
    match token::open::<EcrClaims>(&password, shared.tokens_since()) {
        Ok(claims) if user == "AWS" && claims.service == "ecr" && claims.region == shared.region => {
            Ok(Caller { principal: Some(claims.principal), bearer: None })
        }
        Err(Rejected::Expired) => Err(refuse(shared.expired_status, "DENIED", EXPIRED)),
        _ => Err(invalid()),
    }
}

fn bearer(shared: &Shared, head: &Head, header: Option<&str>) -> Result<Caller, Halt> {
    let needed = needed(head);
    let given = header.and_then(|header| header.split_once(' '));
    let given = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    let Some(given) = given else { return Err(challenge(shared, &needed, None)) };
    // AWS's own sample sends the API's token as it is to ECR Public.
    if shared.personality == Personality::EcrPublic
        && let Some((_, password)) = token::basic(&format!("Basic {given}"))
        && let Ok(claims) = token::open::<EcrClaims>(&password, shared.tokens_since())
    {
        return Ok(Caller { principal: Some(claims.principal), bearer: None });
    }
    let claims = match token::open::<BearerClaims>(given, shared.tokens_since()) {
        Ok(claims) if claims.service == shared.service() && !claims.refresh => claims,
        // No challenge, and so no word of what would do.
        Err(Rejected::Expired) if shared.personality == Personality::EcrPublic => {
            return Err(refuse(shared.expired_status, "DENIED", EXPIRED));
        }
        _ => return Err(challenge(shared, &needed, Some("invalid_token"))),
    };
    let wide = shared.personality == Personality::EcrPublic;
    let fits = needed.as_ref().is_none_or(|(kind, name, actions)| {
        actions.iter().all(|action| match *kind {
            "repository" => allows(&claims, name, action),
            kind => claims.scopes.iter().any(|s| s.kind == kind && s.name == *name && has(&s.actions, action)),
        })
    });
    // A token of ECR Public is for everything that its user may do. Docker's own scopes have been seen to give one, too
    // (appgate/sdpctl, pull request 404): here it must be the scope that the challenge names.
    let asked = claims.scopes.iter().any(|scope| scope.kind == PUBLIC_SCOPE);
    let public = asked && (reads(head) || claims.user.is_some());
    if !(if wide { public } else { fits }) {
        return Err(challenge(shared, &needed, Some("insufficient_scope")));
    }
    Ok(Caller { principal: claims.user.clone(), bearer: (!wide).then_some(claims) })
}

fn allows(claims: &BearerClaims, repository: &str, action: &str) -> bool {
    claims
        .scopes
        .iter()
        .any(|scope| scope.kind == "repository" && scope.name == repository && has(&scope.actions, action))
}

fn has(actions: &[String], action: &str) -> bool {
    actions.iter().any(|given| given == action || given == "*")
}

type Needed<'a> = (&'static str, &'a str, &'static [&'static str]);

fn needed(head: &Head) -> Option<Needed<'_>> {
    if head.target == Target::Catalog {
        return Some(("registry", "catalog", &["*"]));
    }
    let repository = head.target.repository()?;
    let actions: &[&str] = if reads(head) {
        &["pull"]
    } else if head.method.as_str() == "DELETE" && !matches!(head.target, Target::Upload { .. }) {
        &["delete"]
    } else {
        &["pull", "push"]
    };
    Some(("repository", repository, actions))
}

fn challenge(shared: &Shared, needed: &Option<Needed<'_>>, error: Option<&str>) -> Halt {
    let mut text = format!(r#"Bearer realm="{}",service="{}""#, shared.realm(), shared.service());
    if shared.personality == Personality::EcrPublic {
        text.push_str(r#",scope="aws""#);
    } else if let Some((kind, name, actions)) = needed {
        text.push_str(&format!(r#",scope="{kind}:{name}:{}""#, actions.join(",")));
    }
    if let Some(error) = error {
        text.push_str(&format!(r#",error="{error}""#));
    }
    unauthorized(&text)
}

fn unauthorized(challenge: &str) -> Halt {
    Reply::error(401, "UNAUTHORIZED", "authentication required").header("www-authenticate", challenge).into()
}
