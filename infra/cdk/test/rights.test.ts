import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Secret } from 'aws-cdk-lib/aws-secretsmanager';
import { ConfigurationError, type RegistrySettings, type RuleSettings, type TransshipConfiguration } from '../lib';
import { accessFor, eventsFor } from '../lib/access';
import { replication } from '../lib/rights';
import { resourcesOf, statements, transship } from './support';

const OWN = 'arn:aws:ecr:us-east-1:111122223333:repository/';
const HOST = '111122223333.dkr.ecr.us-east-1.amazonaws.com';

const rights = (rules: RuleSettings[], registries: Record<string, RegistrySettings> = {}) =>
  transship({ rules, registries }).template();
const rule = (registry: string | undefined, repository: string | undefined, ...destinations: string[]): RuleSettings => ({
  source: { registry, repository },
  destinations,
});

test('sources are read as narrowly as the glob can be said', () => {
  const template = rights([rule(HOST, 'team/{a,b-*}/**', 'ghcr.io/acme/{name}'), rule(HOST, 'base', 'ghcr.io/acme/base')]);
  assert.deepEqual(resourcesOf(template, 'Read'), [`${OWN}base`, `${OWN}team/a/*`, `${OWN}team/b-*/*`]);
  assert.deepEqual(resourcesOf(template, 'Write'), []);
});

test('the list of tags is granted where signatures are looked for, and nowhere else', () => {
  const to = 'ghcr.io/acme/{name}';
  const template = rights([
    { ...rule(HOST, 'plain/*', to), referrers: false },
    { ...rule(HOST, 'digests', to), referrers: false, untagged: 'by-digest' },
    { ...rule(HOST, 'both', to), referrers: false },
    rule(HOST, 'both', 'quay.io/acme/both'),
    { ...rule(HOST, 'some', to), referrers: { include: ['application/spdx+json'] } },
    rule(HOST, 'signed/*', to),
  ]);
  const granted = statements(template, 'TransshipReplicationPolicy').filter(({ Sid }) => Sid?.startsWith('Read'));
  const images = ['ecr:BatchGetImage', 'ecr:GetDownloadUrlForLayer', 'ecr:DescribeImages'];
  assert.deepEqual(granted.map(({ Sid, Action, Resource }) => [Sid, Action, Resource]), [
    ['Read', [...images, 'ecr:ListImages'], [`${OWN}both`, `${OWN}signed/*`, `${OWN}some`]],
    ['ReadImages', images, [`${OWN}digests`, `${OWN}plain/*`]],
  ]);
});

test('a rule without a registry is for the account and region of the stack', () => {
  assert.deepEqual(resourcesOf(rights([rule(undefined, 'app', 'ghcr.io/acme/app')]), 'Read'), [`${OWN}app`]);
  const anywhere = transship({ rules: [rule(undefined, 'app', '{registry}/mirror/{name}')] }, {}).template();
  const arn = (repository: string) => ({
    'Fn::Join': [
      '',
      ['arn:', { Ref: 'AWS::Partition' }, ':ecr:', { Ref: 'AWS::Region' }, ':', { Ref: 'AWS::AccountId' }, `:repository/${repository}`],
    ],
  });
  assert.deepEqual(resourcesOf(anywhere, 'Read'), [arn('app')]);
  assert.deepEqual(resourcesOf(anywhere, 'Write'), [arn('mirror/app')]);
});

test('only registries whose repositories are globbed are listed, by fanout', () => {
  const named = rights([rule(HOST, 'team/app', 'ghcr.io/acme/app')]);
  assert.deepEqual(resourcesOf(named, 'ListRepositories', 'TransshipFanoutRole'), []);
  const globbed = rights([rule(HOST, 'team/*', 'ghcr.io/acme/{name}')]);
  assert.deepEqual(resourcesOf(globbed, 'ListRepositories', 'TransshipFanoutRole'), [`${OWN}*`]);
  assert.deepEqual(resourcesOf(globbed, 'ListRepositories', 'TransshipOnPushRole'), []);
});

test('destinations in ECR are those that the templates lead to, in their account, region and partition', () => {
  const template = rights([
    rule(
      HOST,
      'team/*',
      '222233334444.dkr.ecr.eu-west-1.amazonaws.com/mirror/{repository}:{tag}',
      '333344445555.dkr-ecr.us-east-2.on.aws/{name}',
    ),
  ]);
  assert.deepEqual(resourcesOf(template, 'Write'), [
    'arn:aws:ecr:eu-west-1:222233334444:repository/mirror/team/*',
    'arn:aws:ecr:us-east-2:333344445555:repository/*',
  ]);
});

test('creating repositories is granted where it is configured, and no more of it than is configured', () => {
  const destination = '111122223333.dkr.ecr.eu-west-1.amazonaws.com';
  const arn = 'arn:aws:ecr:eu-west-1:111122223333:repository/app';
  const created = (create_repository: RegistrySettings['create_repository']) => {
    const template = rights([rule(HOST, 'app', `${destination}/app`)], { [destination]: { create_repository } });
    return statements(template, 'TransshipReplicationPolicy')
      .filter(({ Sid }) => /Repositor|Polic/.test(Sid ?? ''))
      .map(({ Sid, Resource }) => [Sid, Resource]);
  };
  assert.deepEqual(created(undefined), []);
  assert.deepEqual(created({}), [['CreateRepositories', arn]]);
  assert.deepEqual(created({ tags: { team: 'platform' } }), [
    ['CreateRepositories', arn],
    ['TagRepositories', arn],
  ]);
  assert.deepEqual(created({ lifecycle_policy: {} }), [
    ['CreateRepositories', arn],
    ['SetLifecyclePolicies', arn],
  ]);
  assert.deepEqual(created({ repository_policy: '{}' }), [
    ['CreateRepositories', arn],
    ['SetRepositoryPolicies', arn],
  ]);
  const key = 'arn:aws:kms:eu-west-1:111122223333:key/';
  const id = '11111111-2222-3333-4444-555555555555';
  for (const kms_key of [id, `${key}${id}`]) {
    assert.deepEqual(created({ encryption: { type: 'KMS', kms_key } })[1], ['EncryptRepositories', `${key}${id}`]);
  }
  // The key of ECR itself needs no right.
  assert.deepEqual(created({ encryption: { type: 'KMS' } }), [['CreateRepositories', arn]]);
});

test('a key that is named by its alias is any key with that alias', () => {
  const destination = '111122223333.dkr.ecr.eu-west-1.amazonaws.com';
  const template = rights([rule(HOST, 'app', `${destination}/app`)], {
    [destination]: { create_repository: { encryption: { type: 'KMS', kms_key: 'alias/ecr' } } },
  });
  const [statement] = statements(template, 'TransshipReplicationPolicy').filter(({ Sid }) => Sid?.startsWith('Encrypt'));
  assert.equal(statement?.Resource, 'arn:aws:kms:eu-west-1:111122223333:key/*');
  assert.deepEqual(statement?.Condition, {
    StringLike: { 'kms:ViaService': 'ecr.*.amazonaws.com*' },
    'ForAnyValue:StringEquals': { 'kms:ResourceAliases': 'alias/ecr' },
  });
});

test('where a role speaks, or an identity in a secret, the functions have no rights of their own', () => {
  const role_arn = 'arn:aws:iam::222233334444:role/transship-push';
  const there = '222233334444.dkr.ecr.eu-west-1.amazonaws.com';
  const china = '333344445555.dkr.ecr.cn-north-1.amazonaws.com.cn';
  const template = rights([rule('quay.io', 'acme/app', `${there}/app`, `${china}/app`)], {
    [there]: { role_arn, create_repository: { tags: { team: 'platform' } } },
    [china]: { credentials: 'secretsmanager:arn:aws:secretsmanager:us-east-1:111122223333:secret:china-AbC123' },
  });
  assert.deepEqual(
    statements(template, 'TransshipReplicationPolicy').map(({ Sid, Action, Resource }) => [Sid, Action, Resource]),
    [
      [
        'Credentials',
        'secretsmanager:GetSecretValue',
        'arn:aws:secretsmanager:us-east-1:111122223333:secret:china-AbC123',
      ],
      ['Roles', 'sts:AssumeRole', role_arn],
    ],
  );
});

test('any other provider on a host of ECR switches its rights off, and ECR on another host needs its home', () => {
  const template = rights([rule(HOST, 'app', 'ecr.example.com/app')], {
    [HOST]: { provider: 'generic' },
    'ecr.example.com': { provider: 'ecr', account: '444455556666', region: 'eu-north-1' },
  });
  assert.deepEqual(resourcesOf(template, 'Read'), []);
  assert.deepEqual(resourcesOf(template, 'Write'), ['arn:aws:ecr:eu-north-1:444455556666:repository/app']);
});

test('a rule that spells a host in another way has the settings of the plain one too', () => {
  const role_arn = 'arn:aws:iam::111122223333:role/pull';
  const template = rights([rule('111122223333.dkr.ecr-fips.us-east-1.amazonaws.com', 'app', 'ghcr.io/acme/app')], {
    '111122223333.dkr.ecr-fips.us-east-1.amazonaws.com': { role_arn },
  });
  // An event implies the plain host, of which nothing is configured.
  assert.deepEqual(resourcesOf(template, 'Read'), [`${OWN}app`]);
});

test('ECR Public has a login, and repositories without their alias', () => {
  const template = rights([rule(HOST, 'app', 'public.ecr.aws/acme/app:{tag}')], {
    'public.ecr.aws': { create_repository: {} },
  });
  const arn = 'arn:aws:ecr-public::111122223333:repository/app';
  assert.deepEqual(resourcesOf(template, 'PublicWrite'), [arn]);
  assert.deepEqual(resourcesOf(template, 'CreatePublicRepositories'), [arn]);
  assert.deepEqual(resourcesOf(template, 'TagPublicRepositories'), []);
  assert.deepEqual(resourcesOf(template, 'PublicLogin'), ['*']);
  const source = rights([rule('public.ecr.aws', 'lambda/go', 'ghcr.io/acme/go')]);
  assert.deepEqual(
    statements(source, 'TransshipReplicationPolicy').map(({ Sid }) => Sid),
    ['PublicLogin', 'PublicLoginToken'],
  );
});

test('secrets: an ARN is exact, a name lacks six characters, and where that can not be told both are allowed', () => {
  const arn = 'arn:aws:secretsmanager:us-east-1:111122223333:secret:';
  for (const [id, expected] of [
    [`${arn}ghcr-AbC12d`, [`${arn}ghcr-AbC12d`]],
    [`${arn}ghcr`, [`${arn}ghcr-??????`]],
    ['ghcr', [`${arn}ghcr-??????`]],
    ['team/ghcr-AbC12d', [`${arn}team/ghcr-AbC12d-??????`]],
    [`${arn}our-secret`, [`${arn}our-secret`, `${arn}our-secret-??????`]],
  ] as const) {
    const template = rights([], { 'ghcr.io': { credentials: `secretsmanager:${id}` } });
    assert.deepEqual(resourcesOf(template, 'Credentials'), expected, id);
  }
  assert.deepEqual(resourcesOf(rights([], { 'ghcr.io': { credentials: 'env:GHCR' } }), 'Credentials'), []);
});

test('secrets of the same app may be given by their ARN', () => {
  const credentials = (secretArn: string) => ({ registries: { 'ghcr.io': { credentials: `secretsmanager:${secretArn}` } } });
  const made = transship((stack) => credentials(new Secret(stack, 'Ghcr').secretArn)).template();
  const [resource] = resourcesOf(made, 'Credentials') as [{ Ref: string }];
  assert.match(resource.Ref, /^Ghcr/);
  // What CloudFormation puts together is JSON again.
  const [aFunction] = Object.values(made.findResources('AWS::Lambda::Function'));
  const [delimiter, pieces] = aFunction!.Properties.Environment.Variables.TRANSSHIP_CONFIG['Fn::Join'] as [string, unknown[]];
  const text = pieces.map((piece) => (typeof piece === 'string' ? piece : 'ARN')).join(delimiter);
  assert.deepEqual(JSON.parse(text), { registries: { 'ghcr.io': { credentials: 'secretsmanager:ARN' } } });
  const named = transship((stack) => credentials(Secret.fromSecretNameV2(stack, 'Ghcr', 'ghcr').secretArn), {}).template();
  const [joined] = resourcesOf(named, 'Credentials') as [{ 'Fn::Join': [string, unknown[]] }];
  assert.equal(joined['Fn::Join'][1].at(-1), ':secret:ghcr-??????');
});

test('a destination that is none is said with its place', () => {
  for (const destination of ['app', 'ghcr.io/{branch}']) {
    assert.throws(
      () => rights([rule(HOST, 'app', 'ghcr.io/acme/app', destination)]),
      (error: Error) => error instanceof ConfigurationError && error.message.includes('rules[0].destinations[1]: '),
    );
  }
});

test('no statement has * for a resource but where AWS has no other', () => {
  const template = rights(
    [
      rule(HOST, '**', 'public.ecr.aws/acme/{name}', '222233334444.dkr.ecr.eu-west-1.amazonaws.com/{repository}'),
      rule('docker.io', undefined, '{registry}/x/{name}', `${HOST}/{name}`),
    ],
    { 'docker.io': { credentials: 'secretsmanager:hub' } },
  );
  const open = ['TransshipReplicationPolicy', 'TransshipOnPushRole', 'TransshipFanoutRole']
    .flatMap((id) => statements(template, id))
    .filter(({ Resource }) => [Resource].flat().includes('*'))
    .map(({ Sid }) => Sid);
  assert.deepEqual([...new Set(open)].sort(), ['Login', 'PublicLogin', 'PublicLoginToken', 'Traces']);
  const actions = ['TransshipReplicationPolicy', 'TransshipOnPushRole', 'TransshipFanoutRole']
    .flatMap((id) => statements(template, id))
    .flatMap(({ Action }) => Action);
  assert(actions.every((action) => !action.includes('*')));
});

test('following deletions and waiting for scans are rights, and events, of their own', () => {
  const plain = rule(HOST, 'team/*', '111122223333.dkr.ecr.eu-west-1.amazonaws.com/{name}', 'public.ecr.aws/acme/{name}');
  const home = { account: '111122223333', region: 'us-east-1', partition: 'aws', registry: HOST };
  const gated: RuleSettings = { ...plain, delete: 'untag', scan_gate: { severity: 'HIGH' } };
  const configuration: TransshipConfiguration = { rules: [plain, gated] };
  assert.deepEqual(eventsFor(configuration), { deletes: true, referrers: true, scans: true });
  assert.deepEqual(eventsFor({ rules: [plain] }), { deletes: false, referrers: true, scans: false });
  const access = accessFor(configuration, home);
  assert.deepEqual([...access.remove], ['arn:aws:ecr:eu-west-1:111122223333:repository/*']);
  assert.deepEqual([...access.publicRemove], ['arn:aws:ecr-public::111122223333:repository/*']);
  assert.deepEqual([...access.scans], [`${OWN}team/*`]);
  const granted = replication(access, []).flatMap(({ sid, actions }) => (/^(Public)?Delete|Scans/.test(sid ?? '') ? actions : []));
  assert.deepEqual(granted.sort(), [
    'ecr-public:BatchDeleteImage',
    'ecr-public:DescribeImages',
    'ecr:BatchDeleteImage',
    'ecr:DescribeImageScanFindings',
    'ecr:DescribeImages',
    // ECR's own questions where enhanced scanning is on.
    'inspector2:ListCoverage',
    'inspector2:ListFindings',
  ]);
  const without = replication(accessFor({ rules: [plain] }, home), []);
  assert(!without.some(({ actions }) => actions.some((action) => /Delete|Scan|inspector2/.test(action))));
});

test('more rights than IAM takes in a role are refused at synth', () => {
  const many = (count: number) => {
    const names = Array.from({ length: count }, (_, number) => `application-${number}`);
    return [rule(HOST, `team/{${names.join()}}`, 'ghcr.io/acme/{name}')];
  };
  rights(many(60));
  assert.throws(() => rights(many(300)), /the rights of OnPushRole take some \d+ characters, and IAM takes 10240/);
});
