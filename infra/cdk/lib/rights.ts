// The statements of the functions' roles, each with the actions it needs on what the configuration names.

import { PolicyStatement, type PolicyStatementProps } from 'aws-cdk-lib/aws-iam';
import type { Access } from './access';

/** Reading an image. */
export const PULL = ['ecr:BatchGetImage', 'ecr:GetDownloadUrlForLayer', 'ecr:DescribeImages'];

/** Writing an image. */
export const PUSH = [
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

/** What both functions do when they replicate an image. */
export function replication(access: Access, secretKeys: string[]): PolicyStatement[] {
  const own = access.read.size + access.write.size + access.list.size > 0;
  return statements([
    // A login is for the whole registry: AWS knows no resource for it.
    own && { sid: 'Login', actions: ['ecr:GetAuthorizationToken'], resources: ['*'] },
    on('Read', PULL, access.read),
    on('Write', PUSH, access.write),
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
    // A login again, of ECR Public and of the service token that it needs.
    access.publicLogin && { sid: 'PublicLogin', actions: ['ecr-public:GetAuthorizationToken'], resources: ['*'] },
    access.publicLogin && {
      sid: 'PublicLoginToken',
      actions: ['sts:GetServiceBearerToken'],
      resources: ['*'],
      conditions: { StringEquals: { 'sts:AWSServiceName': 'ecr-public.amazonaws.com' } },
    },
    on('PublicWrite', PUBLIC_PUSH, access.publicWrite),
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
