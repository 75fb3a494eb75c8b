// Generated from docs/config.schema.json by scripts/generate.ts; `npm run generate` writes it anew.

/**
 * Who encrypts.
 */
export type EncryptionType = 'AES256' | 'KMS' | 'KMS_DSSE';
/**
 * A policy: the JSON object itself, or a text that holds it.
 */
export type Policy =
  | {
      [k: string]: unknown;
    }
  | string;
/**
 * Whether tags can move.
 */
export type TagMutability = 'MUTABLE' | 'IMMUTABLE' | 'MUTABLE_WITH_EXCLUSION' | 'IMMUTABLE_WITH_EXCLUSION';
/**
 * A kind of registry.
 */
export type Provider = 'ecr' | 'ecr-public' | 'ghcr' | 'gar' | 'acr' | 'docker-hub' | 'quay' | 'generic';
/**
 * What a rule does at its destinations when a tag is deleted at the source.
 */
export type Delete = 'untag' | 'image';
/**
 * What to do with a tag that the destination has, at another digest.
 */
export type ExistingTag = 'overwrite' | 'keep' | 'fail';
/**
 * Which of an image's referrers are copied: all, none, or those of some artifact types.
 */
export type Referrers = boolean | TypeLists;
/**
 * How bad a finding is, the least first.
 */
export type Severity = 'UNDEFINED' | 'INFORMATIONAL' | 'LOW' | 'MEDIUM' | 'HIGH' | 'CRITICAL';
/**
 * What to do with a push without a tag.
 */
export type Untagged = 'skip' | 'by-digest';

/**
 * The configuration of both functions.
 */
export interface TransshipConfiguration {
  /**
   * Bounds; all optional.
   */
  limits?: LimitSettings;
  /**
   * Registries that need more than their host tells, by host (and port) as it stands in references.
   */
  registries?: {
    [k: string]: RegistrySettings;
  };
  /**
   * What is replicated where. Every rule that matches applies.
   */
  rules?: RuleSettings[];
}
/**
 * Bounds; all optional.
 */
export interface LimitSettings {
  /**
   * Blobs in transfer at once, 1 to 64; default 16.
   */
  blob_concurrency?: number | null;
  /**
   * Bytes that may be held at once (of blobs, chunks, manifests, in receive windows), 1 MiB to 8 GiB; default: from the
   * function's memory.
   */
  buffer_bytes?: number | null;
  /**
   * Kept of the invocation's time, in milliseconds, up to 300000; default 5000.
   */
  deadline_margin_ms?: number | null;
  /**
   * How long to wait for ECR to call the blobs available, in milliseconds, up to 600000; default 30000.
   */
  manifest_commit_wait_ms?: number | null;
  /**
   * Tries of one request, the first included, 1 to 20; default 8.
   */
  max_attempts?: number | null;
  /**
   * How long nothing may move before an exchange is given up (a stall, not a whole transfer), in milliseconds,
   * 100 to 900000; default 30000.
   */
  request_timeout_ms?: number | null;
}
/**
 * One registry.
 */
export interface RegistrySettings {
  /**
   * ECR on a host that doesn't tell: its account.
   */
  account?: string | null;
  /**
   * ACR: the URL where an application of Microsoft Entra ID signs in; left out: that of the registry's cloud, such as
   * `https://login.microsoftonline.com`.
   */
  authority?: string | null;
  /**
   * Extra trust: `file:PATH` or PEM text.
   */
  ca_certificate?: string | null;
  /**
   * ECR destinations: create a missing repository with these settings.
   */
  create_repository?: CreateRepository | null;
  /**
   * `secretsmanager:ARN-OR-NAME` or `env:NAME`; the text behind it is `USER:PASSWORD`, JSON
   * `{"username":…,"password":…}`, or a docker `config.json`. Artifact Registry: also a service account's key file.
   * ACR: also `{"tenant":…,"client_id":…,"client_secret":…}`, an application of Microsoft Entra ID. Private ECR: also
   * the AWS identity to ask its API as, `{"access_key_id":…,"secret_access_key":…,"session_token":…}`, for a registry
   * in another partition.
   */
  credentials?: string | null;
  /**
   * The URL to talk to instead of `https://HOST`. The host of the reference stays the identity.
   */
  endpoint?: string | null;
  /**
   * ECR: the external ID that the role's trust policy asks for.
   */
  external_id?: string | null;
  /**
   * Speak HTTP. Without it HTTP is refused.
   */
  plain_http?: boolean;
  /**
   * What kind it is; left out: told from the host.
   */
  provider?: Provider | null;
  /**
   * `HOST:PORT`s that a blob read of this registry may be redirected to although they are not public.
   */
  redirects?: string[];
  /**
   * ECR on a host that doesn't tell: its region.
   */
  region?: string | null;
  /**
   * ECR: the role to assume for this registry's API calls.
   */
  role_arn?: string | null;
  /**
   * Requests at once towards this registry, bodies included (h2 streams), 1 to 256; default 64.
   */
  streams?: number | null;
  /**
   * Artifact Registry: log in as the function's AWS role, without a secret. Goes without `credentials`.
   */
  workload_identity?: WorkloadIdentitySettings | null;
}
/**
 * How a missing ECR repository is created.
 */
export interface CreateRepository {
  /**
   * How images are encrypted; can't be changed later.
   */
  encryption?: Encryption | null;
  /**
   * The lifecycle policy that it gets, up to 30720 characters.
   */
  lifecycle_policy?: Policy | null;
  /**
   * The repository policy that it gets (who else may do what in it), up to 10240 characters.
   */
  repository_policy?: Policy | null;
  /**
   * Scan images when they are pushed.
   */
  scan_on_push?: boolean | null;
  /**
   * Whether tags can move.
   */
  tag_mutability?: TagMutability | null;
  /**
   * Wildcards (with `*`) of tags that are excepted from `tag_mutability`, up to 5; only with the `…_WITH_EXCLUSION` values.
   */
  tag_mutability_exclusions?: string[];
  /**
   * Resource tags.
   */
  tags?: {
    [k: string]: string;
  };
}
/**
 * How images are encrypted at rest.
 */
export interface Encryption {
  /**
   * The key's ARN, ID or alias; left out: the AWS-managed key of ECR.
   */
  kms_key?: string | null;
  /**
   * By whom.
   */
  type: EncryptionType;
}
/**
 * Who the function is at Google: workload identity federation with AWS.
 */
export interface WorkloadIdentitySettings {
  /**
   * The pool's provider for AWS:
   * `//iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER`.
   */
  audience: string;
  /**
   * The URL to talk to instead of `https://iamcredentials.googleapis.com`.
   */
  iam_endpoint?: string | null;
  /**
   * The service account to become; left out: the pool's principal has rights at the registry itself.
   */
  service_account?: string | null;
  /**
   * The URL to talk to instead of `https://sts.googleapis.com`.
   */
  token_endpoint?: string | null;
}
/**
 * One rule: which pushed images it takes, and where they go.
 */
export interface RuleSettings {
  /**
   * Follow the deletion of a tag; left out: nothing is ever removed. Doesn't go with `platforms`.
   */
  delete?: Delete | null;
  /**
   * Where to: references with `{registry}`, `{repository}`, `{name}`, `{tag}` and `{digest}` filled in. No tag
   * part means `:{tag}`.
   */
  destinations: string[];
  /**
   * What to do with a tag that the destination has, at another digest.
   */
  existing_tag?: ExistingTag;
  /**
   * For people: logs and errors name the rule by it.
   */
  name?: string | null;
  /**
   * Copy only these platforms, `OS/ARCHITECTURE[/VARIANT]`, such as `linux/arm64` or `windows(10.0.17763)/amd64`: of an
   * index a new one, with a digest of its own. Left out: the whole index, byte for byte.
   */
  platforms?: string[] | null;
  /**
   * Copy what is attached to the image (signatures, SBOMs, attestations): `true` (the default), `false`, or lists of
   * artifact types to include or exclude.
   */
  referrers?: Referrers;
  /**
   * Artifact types that must be attached to an image, or it is not replicated; `*` in one stands for anything.
   */
  require_referrers?: string[];
  /**
   * Hold images until ECR has scanned them, and refuse those with findings; left out: no scan is asked for.
   */
  scan_gate?: ScanGate | null;
  /**
   * Which repositories.
   */
  source?: SourceSettings;
  /**
   * Which tags.
   */
  tags?: TagSettings;
  /**
   * What to do with a push without a tag.
   */
  untagged?: Untagged;
}
/**
 * Artifact types, such as `application/spdx+json`; `*` in one stands for anything.
 */
export interface TypeLists {
  /**
   * Not these.
   */
  exclude?: string[];
  /**
   * Only these; none: all.
   */
  include?: string[];
}
/**
 * Hold an image until ECR has scanned it, and refuse it for what the scan found.
 */
export interface ScanGate {
  /**
   * A finding of this severity or above refuses the image.
   */
  severity: Severity;
  /**
   * How long an image is held whose scan has not finished, in minutes, 1 to 1440; then it is refused. Counted from its
   * push, or from the event or message that asks for it, whichever came last.
   */
  wait_minutes?: number;
}
/**
 * Which repositories a rule takes.
 */
export interface SourceSettings {
  /**
   * Globs of repositories that are left out.
   */
  exclude?: string[];
  /**
   * The registry's host; left out: any.
   */
  registry?: string | null;
  /**
   * A glob: `*` stays within a path component, `**` crosses them, `{a,b}` chooses; left out: any.
   */
  repository?: string | null;
}
/**
 * Which tags a rule takes.
 */
export interface TagSettings {
  /**
   * Globs, none of which may match.
   */
  exclude?: string[];
  /**
   * Globs, one of which must match; none: all tags.
   */
  include?: string[];
  /**
   * A range that the tag, read as a version (a leading `v` allowed), must be inside, such as `>=1.2, <3`.
   */
  semver?: string | null;
}
