// What a configuration needs of AWS: which repositories, secrets, roles and keys, by ARN. Pure; rights.ts makes
// statements of it.

import { Token } from 'aws-cdk-lib';
import { ConfigurationError } from './check';
import type { RegistrySettings, RuleSettings, TransshipConfiguration } from './generated/configuration';
import { destinationPattern, isGlob, repositoryPatterns } from './globs';
import type { EventKinds } from './props';
import { awsKind, ecrHome, ECR_PUBLIC, plainHost, settingsOf, type EcrHome } from './registries';

/** Where the functions run; any part may be a token. */
export interface Home extends EcrHome {
  /** The host of the account's own registry in the region. */
  readonly registry: string;
}

/** Which events the rules need to be told of, beside pushes. */
export function eventsFor({ rules = [] }: TransshipConfiguration): Required<EventKinds> {
  return {
    deletes: rules.some((rule) => rule.delete),
    // What is attached to an image after it was pushed is taken as such, or as a push without a tag.
    referrers: rules.some((rule) => copiesReferrers(rule) || rule.untagged === 'by-digest'),
    scans: rules.some((rule) => rule.scan_gate),
  };
}

/** Whether what is attached to a rule's images is copied, if only some of it. */
function copiesReferrers({ referrers }: RuleSettings): boolean {
  return referrers !== false;
}

/** Receives of a message before it is given up: tries that failed for what may pass. */
const RECEIVES = 5;

/**
 * How often a message may be received. A `scan_gate` looks seven times while its wait doubles from 30 seconds to 15
 * minutes, and every 15 minutes from then on (docs/scan-gate.md).
 */
export function receivesFor({ rules = [] }: TransshipConfiguration): number {
  const waits = rules.flatMap(({ scan_gate }) => (scan_gate ? [scan_gate.wait_minutes ?? 60] : []));
  return waits.length > 0 ? RECEIVES + 7 + Math.ceil(Math.max(...waits) / 15) : RECEIVES;
}

/** What the functions' roles need, as ARNs or patterns of ARNs. */
export class Access {
  /** ECR repositories that images are read from. */
  readonly read = new Set<string>();
  /** Those of them whose tags are listed, to find signatures that have tags of their own. */
  readonly tags = new Set<string>();
  /** Those of them whose scans are asked for. */
  readonly scans = new Set<string>();
  /** All repositories of the registries whose repositories are listed. */
  readonly list = new Set<string>();
  /** ECR repositories that images are written to. */
  readonly write = new Set<string>();
  /** Those where tags are removed that were deleted at the source. */
  readonly remove = new Set<string>();
  /** Those that may be created. */
  readonly create = new Set<string>();
  /** Those that are tagged when they are created. */
  readonly tag = new Set<string>();
  /** Those that get a lifecycle policy. */
  readonly lifecyclePolicy = new Set<string>();
  /** Those that get a repository policy. */
  readonly repositoryPolicy = new Set<string>();
  /** KMS keys that created repositories are encrypted with. */
  readonly repositoryKeys = new Set<string>();
  /** The same, known by their alias alone: alias to the keys that may have it. */
  readonly repositoryKeyAliases = new Map<string, string>();
  /** Whether ECR Public is logged in to. */
  publicLogin = false;
  /** ECR Public repositories that images are written to. */
  readonly publicWrite = new Set<string>();
  /** Those where tags are removed that were deleted at the source. */
  readonly publicRemove = new Set<string>();
  /** Those that may be created. */
  readonly publicCreate = new Set<string>();
  /** Those that are tagged when they are created. */
  readonly publicTag = new Set<string>();
  /** Secrets with registries' credentials. */
  readonly secrets = new Set<string>();
  /** Roles that are assumed for a registry. */
  readonly roles = new Set<string>();
}

/** What the functions need for `configuration`, at `home`. */
export function accessFor(configuration: TransshipConfiguration, home: Home): Access {
  const access = new Access();
  const registries = configuration.registries ?? {};
  const mistakes: string[] = [];

  (configuration.rules ?? []).forEach((rule, number) => {
    const sourceHost = rule.source?.registry ?? home.registry;
    const patterns = repositoryPatterns(rule.source?.repository);
    // Events imply the plain host, whichever of its spellings a rule has; each may have settings of its own.
    const ends = { access, registries, home, rule };
    for (const host of new Set([sourceHost, plainHost(sourceHost)])) {
      readFrom(ends, host, patterns.map(({ repository }) => repository));
    }
    rule.destinations.forEach((template, position) => {
      for (const pattern of patterns) {
        const destination = destinationPattern(template, plainHost(sourceHost), pattern);
        if (destination === undefined) {
          mistakes.push(`rules[${number}].destinations[${position}]: expected HOST/REPOSITORY[:TAG]`);
          return;
        }
        writeTo(ends, destination.host, destination.repository);
      }
    });
  });
  for (const settings of Object.values(registries)) {
    secretOf(settings, home).forEach((secret) => access.secrets.add(secret));
    if (settings.role_arn) access.roles.add(settings.role_arn);
  }
  if (mistakes.length > 0) throw new ConfigurationError(mistakes);
  return access;
}

/** What is filled in, and what decides it. */
interface Ends {
  readonly access: Access;
  readonly registries: Record<string, RegistrySettings>;
  readonly home: Home;
  readonly rule: RuleSettings;
}

function readFrom({ access, registries, home, rule }: Ends, host: string, repositories: string[]): void {
  const settings = settingsOf(registries, host);
  if (isPublic(host, settings)) {
    // Its images are everybody's; the login raises what may be pulled in a second.
    access.publicLogin ||= !settings.credentials && !settings.role_arn;
    return;
  }
  const registry = reached(host, settings, home);
  if (registry === undefined) return;
  const resources = repositories.map((repository) => arn(registry, repository));
  resources.forEach((resource) => access.read.add(resource));
  if (copiesReferrers(rule)) resources.forEach((resource) => access.tags.add(resource));
  if (rule.scan_gate) resources.forEach((resource) => access.scans.add(resource));
  // The list of a registry's repositories is asked for as a whole: by a backfill that names nothing, of what the rules
  // name.
  if (rule.source?.registry && isGlob(rule.source.repository)) access.list.add(arn(registry, '*'));
}

function writeTo({ access, registries, home, rule }: Ends, host: string, repository: string): void {
  const settings = settingsOf(registries, host);
  const create = settings.create_repository;
  const tagged = Object.keys(create?.tags ?? {}).length > 0;
  if (isPublic(host, settings)) {
    if (settings.role_arn) return;
    access.publicLogin = true;
    // The API names repositories without their registry's alias, and knows the caller's own alone.
    const name = repository.slice(repository.indexOf('/') + 1);
    const resource = `arn:${home.partition}:ecr-public::${home.account}:repository/${name}`;
    access.publicWrite.add(resource);
    if (rule.delete) access.publicRemove.add(resource);
    if (create) access.publicCreate.add(resource);
    if (create && tagged) access.publicTag.add(resource);
    return;
  }
  const registry = reached(host, settings, home);
  if (registry === undefined) return;
  const resource = arn(registry, repository);
  access.write.add(resource);
  if (rule.delete) access.remove.add(resource);
  if (!create) return;
  access.create.add(resource);
  if (tagged) access.tag.add(resource);
  if (create.lifecycle_policy) access.lifecyclePolicy.add(resource);
  if (create.repository_policy) access.repositoryPolicy.add(resource);
  const key = create.encryption?.kms_key;
  // ECR's own key (`aws/ecr`) lets everybody who may use ECR use it.
  if (!key) return;
  const keys = `arn:${registry.partition}:kms:${registry.region}:${registry.account}`;
  if (key.startsWith('arn:') && !key.includes(':alias/')) access.repositoryKeys.add(key);
  else if (Token.isUnresolved(key)) access.repositoryKeys.add(key);
  // Rights are for keys, never for aliases.
  else if (key.includes('alias/')) access.repositoryKeyAliases.set(key.slice(key.indexOf('alias/')), `${keys}:key/*`);
  else access.repositoryKeys.add(`${keys}:key/${key}`);
}

function isPublic(host: string, settings: RegistrySettings): boolean {
  return awsKind(host, settings) === 'ecr-public' || (host === ECR_PUBLIC && settings.provider === undefined);
}

/** The ECR registry behind a host, if the functions ask its API as themselves. */
function reached(host: string, settings: RegistrySettings, home: Home): EcrHome | undefined {
  // The role has the rights then, and the functions' only one is to assume it; likewise the identity in a secret, which
  // is the way into another partition.
  if (settings.role_arn || settings.credentials) return undefined;
  if (host === home.registry && (settings.provider ?? 'ecr') === 'ecr') return home;
  return awsKind(host, settings) === 'ecr' ? ecrHome(host, settings) : undefined;
}

function arn(registry: EcrHome, repository: string): string {
  return `arn:${registry.partition}:ecr:${registry.region}:${registry.account}:repository/${repository}`;
}

/** The ARNs of a secret: Secrets Manager appends a dash and six characters to the name. */
function secretOf(settings: RegistrySettings, home: Home): string[] {
  const id = /^secretsmanager:(.+)$/.exec(settings.credentials ?? '')?.[1];
  if (id === undefined) return [];
  const anySuffix = '-??????';
  // A token that stands for an ARN ends with it; one that is put together from a name ends with the name.
  if (Token.isUnresolved(id) && id.endsWith('}')) return [id];
  if (!id.startsWith('arn:') && !Token.isUnresolved(id)) {
    return [`arn:${home.partition}:secretsmanager:${home.region}:${home.account}:secret:${id}${anySuffix}`];
  }
  const suffix = /-([A-Za-z0-9]{6})$/.exec(id)?.[1];
  if (suffix === undefined) return [id + anySuffix];
  // Six small letters may be the end of a name (`my-secret`), whose ARN has its suffix to come.
  return /^[a-z]{6}$/.test(suffix) ? [id, id + anySuffix] : [id];
}
