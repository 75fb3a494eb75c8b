// What the host of a registry tells: its kind, and of ECR the account and the region.

import { Aws, Token } from 'aws-cdk-lib';
import type { Provider, RegistrySettings } from './generated/configuration';

/** Where a private ECR registry is. */
export interface EcrHome {
  readonly account: string;
  readonly region: string;
  readonly partition: string;
}

// Source: ECR user guide, "Endpoints" and "IPv6"; the functions read hosts in the same way (shared/src/provider.rs).
const ECR_HOST = new RegExp(
  '^(?<account>[0-9]{12})[.]dkr[.-]ecr(-fips)?[.](?<region>[a-z0-9-]+)[.]' +
    '(amazonaws[.]com([.]cn)?|amazonaws[.]eu|on[.]aws|on[.]amazonwebservices[.]com[.]cn|sc2s[.]sgov[.]gov|c2s[.]ic[.]gov' +
    '|cloud[.]adc-e[.]uk|csp[.]hci[.]ic[.]gov)(:[0-9]+)?$',
);

/** The host of ECR Public, whose API one region serves. */
export const ECR_PUBLIC = 'public.ecr.aws';

/** A host as configurations spell it: no case, no port that goes without saying. */
export function normalHost(host: string): string {
  return Token.isUnresolved(host) ? host : host.toLowerCase().replace(/:443$/, '');
}

/** The settings of one registry. */
export function settingsOf(registries: Record<string, RegistrySettings>, host: string): RegistrySettings {
  const found = Object.entries(registries).find(([name]) => normalHost(name) === normalHost(host));
  return found?.[1] ?? {};
}

/** The kinds of registries that AWS's APIs serve; any other is `undefined`. */
export function awsKind(host: string, settings: RegistrySettings): Extract<Provider, 'ecr' | 'ecr-public'> | undefined {
  const told = ECR_HOST.test(normalHost(host)) ? 'ecr' : normalHost(host) === ECR_PUBLIC ? 'ecr-public' : undefined;
  const kind = settings.provider ?? told;
  return kind === 'ecr' || kind === 'ecr-public' ? kind : undefined;
}

/** The account and the region of an ECR registry; `undefined` where neither host nor settings tell. */
export function ecrHome(host: string, settings: RegistrySettings): EcrHome | undefined {
  const told = ECR_HOST.exec(normalHost(host))?.groups;
  const account = settings.account ?? told?.['account'];
  const region = settings.region ?? told?.['region'];
  return account && region ? { account, region, partition: partitionOf(region) } : undefined;
}

/** The host that ECR's events imply: of the spellings of one registry, the plain one. */
export function plainHost(host: string): string {
  const told = ECR_HOST.exec(normalHost(host))?.groups;
  return told ? hostOf(told['account']!, told['region']!) : normalHost(host);
}

/** The plain host of an account's registry in a region. */
export function hostOf(account: string, region: string): string {
  const domain = Token.isUnresolved(region)
    ? Aws.URL_SUFFIX
    : (PARTITIONS.find(([prefix]) => region.startsWith(prefix))?.[2] ?? 'amazonaws.com');
  return `${account}.dkr.ecr.${region}.${domain}`;
}

// Source: AWS General Reference, "Amazon Resource Names".
const PARTITIONS: [prefix: string, partition: string, domain: string][] = [
  ['cn-', 'aws-cn', 'amazonaws.com.cn'],
  ['eusc-', 'aws-eusc', 'amazonaws.eu'],
  ['us-gov-', 'aws-us-gov', 'amazonaws.com'],
  ['us-isob-', 'aws-iso-b', 'sc2s.sgov.gov'],
  ['us-isof-', 'aws-iso-f', 'csp.hci.ic.gov'],
  ['us-iso-', 'aws-iso', 'c2s.ic.gov'],
  ['eu-isoe-', 'aws-iso-e', 'cloud.adc-e.uk'],
];

/** The partition of a region: identities of one mean nothing in another. */
export function partitionOf(region: string): string {
  return PARTITIONS.find(([prefix]) => region.startsWith(prefix))?.[1] ?? 'aws';
}
