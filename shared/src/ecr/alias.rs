//! Whose registry an ECR Public reference names. `public.ecr.aws/ALIAS/REPOSITORY` begins with the alias of an account, and
//! the API, which acts on the caller's own registry, never hears it: it would tell of one account's repository and create it
//! there, while the image goes to another one's.
//!
//! Source: ECR Public API, `DescribeRegistries`; ECR Public user guide, "Registries".

use aws_sdk_ecrpublic::types::RegistryAliasStatus;
use tokio::sync::Mutex;

use super::EcrPublicApi;
use crate::{
    aws::{CountCalls, failure},
    error::{Error, ErrorType},
    transport::Meter,
};

/// The aliases of the account that is asked: one call for the life of the process, and one more before each refusal, as an
/// alias may have been given to the account since.
#[derive(Debug, Default)]
pub(super) struct OwnAliases(Mutex<Known>);

#[derive(Debug, Default)]
enum Known {
    #[default]
    NotAsked,
    /// It could not be found out.
    Unknown,
    Told(Account),
}

/// An account, and what its public registry is called.
#[derive(Debug)]
struct Account {
    id: String,
    aliases: Vec<Alias>,
}

/// One name of a registry.
#[derive(Debug)]
struct Alias {
    name: String,
    /// Asked for names are `PENDING` or `REJECTED`, and may be somebody else's.
    status: RegistryAliasStatus,
}

impl OwnAliases {
    /// Checks that the registry of `repository`, which begins with its alias, is that of the account behind `api`.
    ///
    /// Where that can't be found out, for want of the right or because of a trouble that outlasts the SDK's tries, it is
    /// asked no more, and the API's other calls decide.
    ///
    /// # Errors
    /// `InvalidConfig`: it is another account's. `InvalidReference`: there is no alias.
    pub(super) async fn check(&self, api: &EcrPublicApi, repository: &str, meter: &Meter) -> Result<(), Error> {
        let Some((alias, name)) = repository.split_once('/') else {
            let text = format!("ECR Public repository {repository}: expected public.ecr.aws/ALIAS/REPOSITORY");
            return Err(Error::new(ErrorType::InvalidReference, text));
        };
        let mut known = self.0.lock().await;
        let is_first = match &*known {
            Known::Unknown => return Ok(()),
            Known::Told(account) if account.has(alias) => return Ok(()),
            Known::Told(_) => false,
            Known::NotAsked => true,
        };
        match describe(api, meter).await {
            Ok(account) => {
                let refusal = (!account.has(alias)).then(|| account.refusal(alias, name, api));
                *known = Known::Told(account);
                refusal.map_or(Ok(()), Err)
            }
            Err(error) if is_first => {
                tracing::warn!(%error, "not checked: that the alias is one of the account's");
                *known = Known::Unknown;
                Ok(())
            }
            // It could be told before: neither a yes nor a no.
            Err(error) => Err(error),
        }
    }
}

/// An account has one public registry, so that there is one page.
async fn describe(api: &EcrPublicApi, meter: &Meter) -> Result<Account, Error> {
    let doing = format!("asking for the aliases of the registry (ecr-public:DescribeRegistries, {})", api.place());
    let call = api.client().await.describe_registries();
    let answer = call.customize().interceptor(CountCalls::on(meter)).send().await;
    let answer = answer.map_err(|error| failure(&doing, &error))?;
    let id = answer.registries().first().map(|registry| registry.registry_id().to_owned()).unwrap_or_default();
    let aliases = answer.registries().iter().flat_map(|registry| registry.aliases());
    let aliases =
        aliases.map(|alias| Alias { name: alias.name().to_owned(), status: alias.status().clone() }).collect();
    Ok(Account { id, aliases })
}

impl Account {
    fn has(&self, alias: &str) -> bool {
        self.aliases.iter().any(|own| own.status == RegistryAliasStatus::Active && own.name == alias)
    }

    fn refusal(&self, alias: &str, name: &str, api: &EcrPublicApi) -> Error {
        let place = api.place();
        let known = self.aliases.iter().map(|own| match own.status {
            RegistryAliasStatus::Active => own.name.clone(),
            ref status => format!("{} ({status})", own.name),
        });
        let known = known.collect::<Vec<_>>().join(", ");
        let whose = match (self.id.as_str(), known.as_str()) {
            (_, "") => "the account that is asked has no public registry yet".to_owned(),
            (id, known) => format!("account {id}, which is asked, has the aliases {known}"),
        };
        let text = format!(
            "public.ecr.aws/{alias}/{name}: {whose}, and not `{alias}` ({place}); name the repository by an alias of this \
             account, or set registries.HOST.role_arn to a role of the account that has `{alias}`"
        );
        Error::new(ErrorType::InvalidConfig, text)
    }
}
