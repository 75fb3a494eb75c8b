// What cdk-nag objects to and is meant to be so, each with its reason. Without cdk-nag this says nothing.

import { Stack, Validations } from 'aws-cdk-lib';
import type { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import type { IConstruct } from 'constructs';

/** Why a statement has a wildcard, by its `Sid`. */
const WILDCARDS: Record<string, string> = {
  Login: 'A login is for the whole registry: AWS knows no resource for it.',
  PublicLogin: 'A login is for the whole registry: AWS knows no resource for it.',
  PublicLoginToken: 'AWS knows no resource for the service token; the condition says which service.',
  Traces: 'X-Ray has no resources that a policy could name.',
  Read: "The repositories that the rules' globs take.",
  ReadImages: "The repositories that the rules' globs take.",
  Scans: "The repositories that the rules' globs take.",
  EnhancedScans: "Inspector's findings and coverage belong to no repository; ECR asks for them on the caller's behalf.",
  Delete: "The repositories that the rules' globs and templates lead to.",
  PublicDelete: "The repositories that the rules' globs and templates lead to.",
  Write: "The repositories that the rules' globs and templates lead to.",
  CreateRepositories: "The repositories that the rules' globs and templates lead to.",
  TagRepositories: "The repositories that the rules' globs and templates lead to.",
  SetLifecyclePolicies: "The repositories that the rules' globs and templates lead to.",
  SetRepositoryPolicies: "The repositories that the rules' globs and templates lead to.",
  EncryptRepositories: 'A key that is known by its alias: rights are for keys, and the condition says which alias.',
  PublicWrite: "The repositories that the rules' globs and templates lead to.",
  PublicAliases: 'An account has one registry of ECR Public.',
  CreatePublicRepositories: "The repositories that the rules' globs and templates lead to.",
  TagPublicRepositories: "The repositories that the rules' globs and templates lead to.",
  ListRepositories: "A registry's list of repositories is asked for as a whole.",
  Interfaces: 'Lambda asks for it on every resource; the code of the functions is denied it.',
  AllowedListing: "A registry's list of repositories is asked for as a whole.",
  AllowedPull: 'As whoever called allowPull wants it.',
  AllowedPublicPush: 'As whoever called allowPush wants it.',
  AllowedPublicAliases: 'An account has one registry of ECR Public.',
  AllowedPush: 'As whoever called allowPush wants it.',
};

/** Acknowledges the wildcards of statements that a role or a policy has. */
export function acknowledgeWildcards(holder: IConstruct, statements: PolicyStatement[]): void {
  for (const statement of statements) {
    const reason = WILDCARDS[(statement.sid ?? '').replace(/[0-9]+$/, '').replace(/ByAlias$/, '')];
    for (const resource of statement.resources.map((resource) => flat(Stack.of(holder).resolve(resource)))) {
      if (!resource.includes('*') || reason === undefined) continue;
      Validations.of(holder).acknowledge({ id: `AwsSolutions::AwsSolutions-IAM5[Resource::${resource}]`, reason });
    }
  }
}

/** A value that CloudFormation fills in, as cdk-nag writes it: `<Queue.Arn>`. */
function flat(value: unknown): string {
  if (typeof value === 'string') return value;
  const [intrinsic, argument] = Object.entries(value as object)[0] ?? [];
  if (intrinsic === 'Fn::Join') {
    const [delimiter, pieces] = argument as [string, unknown[]];
    return pieces.map(flat).join(delimiter);
  }
  return `<${[argument].flat().join('.')}>`;
}

/** Acknowledges what is not about rights. */
export function acknowledge(
  parts: Record<'onPush' | 'fanout' | 'deadLetters' | 'eventDeadLetters' | 'mapping', IConstruct> & { roles: IConstruct[] },
): void {
  const say = (construct: IConstruct, id: string, reason: string) => Validations.of(construct).acknowledge({ id, reason });
  const last = 'It is where dead letters end; an alarm tells of the first one.';
  say(parts.deadLetters, 'Serverless::Serverless-SQSRedrivePolicy', last);
  say(parts.eventDeadLetters, 'Serverless::Serverless-SQSRedrivePolicy', last);
  say(parts.eventDeadLetters, 'AwsSolutions::AwsSolutions-SQS3', `${last} EventBridge and Lambda write to it.`);
  say(
    parts.onPush,
    'Serverless::Serverless-LambdaDLQ',
    'Events that fail go to an on-failure destination, which holds the error too.',
  );
  say(parts.fanout, 'Serverless::Serverless-LambdaDLQ', 'It is invoked by the queue alone, which has a dead-letter queue.');
  say(
    parts.mapping,
    'Serverless::Serverless-LambdaEventSourceMappingDestination',
    'Mappings of queues have none: the queue has a dead-letter queue.',
  );
  parts.roles.forEach((role) => say(role, 'Serverless::Serverless-LambdaStarPermissions', WILDCARDS['Traces']!));
}
