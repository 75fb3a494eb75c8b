// The statements of the functions' roles, each with the actions it needs on what the configuration names.

import { Stack } from 'aws-cdk-lib';
import { CfnPolicy, Effect, PolicyStatement, type CfnRole, type PolicyStatementProps, type Role } from 'aws-cdk-lib/aws-iam';
import type { IKey } from 'aws-cdk-lib/aws-kms';
import type { ILogGroup } from 'aws-cdk-lib/aws-logs';
import type { IQueue } from 'aws-cdk-lib/aws-sqs';
import type { IConstruct } from 'constructs';
import type { Access } from './access';

const PULL_IMAGES = ['ecr:BatchGetImage', 'ecr:GetDownloadUrlForLayer', 'ecr:DescribeImages'];

/** With what is attached to the images: signatures with tags of their own are found in the list of tags. */
const PULL = [...PULL_IMAGES, 'ecr:ListImages'];

const PUSH = [
  'ecr:BatchCheckLayerAvailability',
  'ecr:BatchGetImage',
  'ecr:CompleteLayerUpload',
  'ecr:InitiateLayerUpload',
  'ecr:PutImage',
  'ecr:UploadLayerPart',
];

const PUBLIC_PUSH = [
  'ecr-public:BatchCheckLayerAvailability',
  'ecr-public:CompleteLayerUpload',
  'ecr-public:InitiateLayerUpload',
  'ecr-public:PutImage',
  'ecr-public:UploadLayerPart',
];

/** Whether the alias in a reference is the account's. */
const PUBLIC_ALIASES = ['ecr-public:DescribeRegistries'];

/** The public registries that repositories of ECR Public are in. */
function registriesOf(repositoryArns: Iterable<string>): Set<string> {
  return new Set([...repositoryArns].map((arn) => arn.replace(/:repository\/.*$/, ':registry/*')));
}

/** A login is for a whole registry: AWS knows no resource for it. */
function login(ecr: boolean, ecrPublic: boolean): (PolicyStatementProps | false)[] {
  return [
    ecr && { sid: 'Login', actions: ['ecr:GetAuthorizationToken'], resources: ['*'] },
    ecrPublic && { sid: 'PublicLogin', actions: ['ecr-public:GetAuthorizationToken'], resources: ['*'] },
    // ECR Public's takes a service token, too.
    ecrPublic && {
      sid: 'PublicLoginToken',
      actions: ['sts:GetServiceBearerToken'],
      resources: ['*'],
      conditions: { StringEquals: { 'sts:AWSServiceName': 'ecr-public.amazonaws.com' } },
    },
  ];
}

/** What messages may name beside the rules: more repositories to read, or to write. */
export function beside(what: 'pull' | 'push', repositoryArns: string[]): PolicyStatement[] {
  const isPublic = (arn: string) => arn.includes(':ecr-public:');
  const [open, own] = [repositoryArns.filter(isPublic), repositoryArns.filter((arn) => !isPublic(arn))];
  return statements([
    ...login(own.length > 0, open.length > 0),
    what === 'pull' && on('AllowedPull', PULL, new Set(own)),
    what === 'push' && on('AllowedPush', PUSH, new Set(own)),
    // Anybody may read ECR Public.
    what === 'push' && on('AllowedPublicPush', PUBLIC_PUSH, new Set(open)),
    what === 'push' && on('AllowedPublicAliases', PUBLIC_ALIASES, registriesOf(open)),
  ]);
}

/** What both functions do when they replicate an image. */
export function replication(access: Access, secretKeys: string[]): PolicyStatement[] {
  const own = access.read.size + access.write.size + access.list.size > 0;
  return statements([
    ...login(own, access.publicLogin),
    on('Read', PULL, access.tags),
    on('ReadImages', PULL_IMAGES, new Set([...access.read].filter((resource) => !access.tags.has(resource)))),
    on('Write', PUSH, access.write),
    on('Scans', ['ecr:DescribeImageScanFindings'], access.scans),
    // ECR asks Amazon Inspector for enhanced scanning's findings, as whoever asks ECR. They are of no repository.
    on('EnhancedScans', ['inspector2:ListCoverage', 'inspector2:ListFindings'], new Set(access.scans.size > 0 ? ['*'] : [])),
    on('Delete', ['ecr:BatchDeleteImage', 'ecr:DescribeImages'], access.remove),
    on('CreateRepositories', ['ecr:CreateRepository'], access.create),
    on('TagRepositories', ['ecr:TagResource'], access.tag),
    on(
      'SetLifecyclePolicies',
      ['ecr:DescribeImages', 'ecr:GetLifecyclePolicy', 'ecr:PutLifecyclePolicy'],
      access.lifecyclePolicy,
    ),
    on(
      'SetRepositoryPolicies',
      ['ecr:DescribeImages', 'ecr:GetRepositoryPolicy', 'ecr:SetRepositoryPolicy'],
      access.repositoryPolicy,
    ),
    on('EncryptRepositories', KEY_OF_REPOSITORY, access.repositoryKeys, FOR_ECR),
    ...[...access.repositoryKeyAliases].map(
      ([alias, keys], number): PolicyStatementProps => ({
        sid: `EncryptRepositoriesByAlias${number}`,
        actions: KEY_OF_REPOSITORY,
        resources: [keys],
        conditions: { ...FOR_ECR, 'ForAnyValue:StringEquals': { 'kms:ResourceAliases': alias } },
      }),
    ),
    on('PublicWrite', PUBLIC_PUSH, access.publicWrite),
    on('PublicAliases', PUBLIC_ALIASES, registriesOf(access.publicWrite)),
    on('PublicDelete', ['ecr-public:BatchDeleteImage', 'ecr-public:DescribeImages'], access.publicRemove),
    on('CreatePublicRepositories', ['ecr-public:CreateRepository'], access.publicCreate),
    on('TagPublicRepositories', ['ecr-public:TagResource'], access.publicTag),
    on('Credentials', ['secretsmanager:GetSecretValue'], access.secrets),
    on('Roles', ['sts:AssumeRole'], access.roles),
    on('Decrypt', ['kms:Decrypt'], new Set(secretKeys), {
      StringLike: { 'kms:ViaService': ['secretsmanager.*.amazonaws.com*', 'ssm.*.amazonaws.com*'] },
    }),
  ]);
}

/** What fanout alone does: list the repositories that a glob takes. */
export function listing(access: Access): PolicyStatement[] {
  return statements([on('ListRepositories', ['ecr:DescribeRepositories'], access.list)]);
}

/** Sending to queues that are encrypted with a key, and receiving from them. */
export function queueKey(key: IKey | undefined): PolicyStatement[] {
  return statements([on('QueueKey', ['kms:Decrypt', 'kms:GenerateDataKey'], new Set(key ? [key.keyArn] : []))]);
}

/**
 * Lambda's own work for functions in a VPC. It asks for these on every resource when the function is made; the
 * functions' code is denied them.
 */
export function interfaces(stack: Stack): PolicyStatement[] {
  const actions = [
    'ec2:AssignPrivateIpAddresses',
    'ec2:CreateNetworkInterface',
    'ec2:DeleteNetworkInterface',
    'ec2:DescribeNetworkInterfaces',
    'ec2:DescribeSubnets',
    'ec2:UnassignPrivateIpAddresses',
  ];
  const functions = `arn:${stack.partition}:lambda:${stack.region}:${stack.account}:function:*`;
  return statements([
    { sid: 'Interfaces', actions, resources: ['*'] },
    {
      sid: 'NotByTheCode',
      effect: Effect.DENY,
      actions,
      resources: ['*'],
      conditions: { ArnLike: { 'lambda:SourceFunctionArn': functions } },
    },
  ]);
}

/** Writing log lines to its own group, and traces. */
export function telling(logs: ILogGroup): PolicyStatement[] {
  return statements([
    { sid: 'Logs', actions: ['logs:CreateLogStream', 'logs:PutLogEvents'], resources: [logs.logGroupArn] },
    // X-Ray has no resources that a policy could name.
    { sid: 'Traces', actions: ['xray:PutTraceSegments', 'xray:PutTelemetryRecords'], resources: ['*'] },
  ]);
}

/** What on-push does with queues: it sends, and Lambda sends what it gave up. */
export function sending(queue: IQueue, failedEvents: IQueue): PolicyStatement[] {
  return statements([
    { sid: 'Queue', actions: ['sqs:SendMessage'], resources: [queue.queueArn] },
    { sid: 'FailedEvents', actions: ['sqs:SendMessage'], resources: [failedEvents.queueArn] },
  ]);
}

/** What fanout does with queues: it takes messages, puts them off, sends more, and gives some up. */
export function draining(queue: IQueue, deadLetters: IQueue): PolicyStatement[] {
  return statements([
    {
      sid: 'Queue',
      actions: [
        'sqs:ReceiveMessage',
        'sqs:DeleteMessage',
        'sqs:GetQueueAttributes',
        'sqs:ChangeMessageVisibility',
        'sqs:SendMessage',
      ],
      resources: [queue.queueArn],
    },
    { sid: 'DeadLetters', actions: ['sqs:SendMessage'], resources: [deadLetters.queueArn] },
  ]);
}

// ECR asks KMS in the name of whoever creates the repository.
const KEY_OF_REPOSITORY = ['kms:CreateGrant', 'kms:DescribeKey', 'kms:RetireGrant'];
const FOR_ECR = { StringLike: { 'kms:ViaService': 'ecr.*.amazonaws.com*' } };

function on(
  sid: string,
  actions: string[],
  resources: Set<string>,
  conditions?: Record<string, unknown>,
): PolicyStatementProps | false {
  return resources.size > 0 && { sid, actions, resources: [...resources].sort(), ...(conditions && { conditions }) };
}

function statements(wanted: (PolicyStatementProps | false)[]): PolicyStatement[] {
  return wanted.filter((props) => props !== false).map((props) => new PolicyStatement(props));
}

/** Characters that the policies inside a role may have together (IAM quotas), white space aside. */
const MOST = 10_240;

/** Characters that a value takes which is known at deployment only, such as an ARN. */
const TOKEN = 80;

/** What is too long about roles' policies; said at synth, before a deployment fails of it. */
export function tooLong(scope: IConstruct, roles: Role[]): string[] {
  const stack = Stack.of(scope);
  const resources = scope.node.findAll();
  const attached = resources.filter((resource) => resource instanceof CfnPolicy);
  return roles.flatMap((role) => {
    const own = role.node.defaultChild as CfnRole;
    const documents = [
      ...(stack.resolve(own.policies) as { policyDocument: unknown }[]).map(({ policyDocument }) => policyDocument),
      ...attached
        .filter(({ roles }) => (stack.resolve(roles) as { Ref: string }[]).some(({ Ref }) => Ref === stack.resolve(own.logicalId)))
        .map(({ policyDocument }) => policyDocument),
    ];
    const length = documents.reduce<number>((sum, document) => sum + lengthOf(stack.resolve(document)), 0);
    if (length <= MOST) return [];
    return [
      `the rights of ${role.node.id} take some ${length} characters, and IAM takes ${MOST} in one role: write a glob where ` +
        'the configuration names many repositories, or have a role_arn for a registry',
    ];
  });
}

/** Characters of a policy, at most about. */
function lengthOf(value: unknown): number {
  const text: string | undefined = JSON.stringify(value, (_, part: unknown) => {
    const [only, ...others] = typeof part === 'object' && part !== null ? Object.keys(part) : [];
    const late = others.length === 0 && (only === 'Ref' || only === 'Fn::GetAtt');
    return late ? 'x'.repeat(TOKEN) : part;
  });
  // A policy without statements is none.
  return (text ?? '').replace(/\s/g, '').length;
}
