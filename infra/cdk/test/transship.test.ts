import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Duration } from 'aws-cdk-lib';
import { Match, type Template } from 'aws-cdk-lib/assertions';
import { SecurityGroup, Vpc } from 'aws-cdk-lib/aws-ec2';
import { Role, type IRole } from 'aws-cdk-lib/aws-iam';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Architecture } from 'aws-cdk-lib/aws-lambda';
import { Topic } from 'aws-cdk-lib/aws-sns';
import {
  ConfigurationError,
  Transship,
  TransshipCode,
  type EventKinds,
  type RuleSettings,
  type ScanGate,
  type TransshipConfiguration,
} from '../lib';
import { CODE, statements, transship } from './support';

const EXAMPLE = JSON.parse(
  readFileSync(join(__dirname, '../../example.json'), 'utf8'),
) as TransshipConfiguration;

const variables = (template: Template, part: string): Record<string, unknown> => {
  const functions = template.findResources('AWS::Lambda::Function') as Record<
    string,
    { Properties: { Environment: { Variables: Record<string, unknown> } } }
  >;
  const [name] = Object.keys(functions).filter((id) => id.startsWith(`Transship${part}`));
  return functions[name!]!.Properties.Environment.Variables;
};

test('the template of the example is as it was', () => {
  const file = join(__dirname, 'snapshot.json');
  const text = `${JSON.stringify(transship({ ...EXAMPLE, schedule: 'rate(1 day)' }, {}).template().toJSON(), null, 2)}\n`;
  if (process.env['UPDATE_SNAPSHOT']) writeFileSync(file, text);
  assert.equal(text, readFileSync(file, 'utf8'), 'UPDATE_SNAPSHOT=1 npm test writes it anew');
});

test('two functions: arm64, from binaries, with JSON logs, traces and no limit on rounds through the queue', () => {
  const template = transship(EXAMPLE).template();
  template.resourceCountIs('AWS::Lambda::Function', 2);
  template.allResourcesProperties('AWS::Lambda::Function', {
    Runtime: 'provided.al2023',
    Handler: 'bootstrap',
    Architectures: ['arm64'],
    MemorySize: 512,
    Timeout: 900,
    TracingConfig: { Mode: 'Active' },
    RecursiveLoop: 'Allow',
    LoggingConfig: Match.objectLike({ LogFormat: 'JSON', ApplicationLogLevel: 'INFO' }),
  });
  template.allResourcesProperties('AWS::Logs::LogGroup', { RetentionInDays: 30 });
});

test('each function has a role of its own, and no policy of AWS', () => {
  const template = transship(EXAMPLE).template();
  const functions = Object.values(template.findResources('AWS::Lambda::Function')) as { Properties: { Role: unknown } }[];
  assert.equal(new Set(functions.map(({ Properties }) => JSON.stringify(Properties.Role))).size, 2);
  template.allResourcesProperties('AWS::IAM::Role', { ManagedPolicyArns: Match.absent() });
});

test('the queue hides a message for six times the timeout, gives it up after five tries, and wants TLS', () => {
  const template = transship({ ...EXAMPLE, timeout: Duration.minutes(5) }).template();
  template.hasResourceProperties('AWS::SQS::Queue', {
    VisibilityTimeout: 1800,
    RedrivePolicy: Match.objectLike({ maxReceiveCount: 5 }),
    SqsManagedSseEnabled: true,
  });
  template.resourceCountIs('AWS::SQS::Queue', 3);
  const refusals = statements(template, 'Transship').filter(({ Sid }) => Sid === 'TlsOnly');
  assert.equal(refusals.length, 3);
  assert(refusals.every(({ Effect }) => Effect === 'Deny'));
});

test('a message is an invocation, and failures are told one by one', () => {
  transship({ ...EXAMPLE, maxConcurrency: 3 })
    .template()
    .hasResourceProperties('AWS::Lambda::EventSourceMapping', {
      BatchSize: 1,
      FunctionResponseTypes: ['ReportBatchItemFailures'],
      ScalingConfig: { MaximumConcurrency: 3 },
    });
});

test('events: pushes always, others where a rule needs them or they are asked for', () => {
  const details = (events: EventKinds, rule: Partial<RuleSettings> = {}) => {
    const rules = [{ source: { repository: 'app' }, destinations: ['ghcr.io/acme/app'], ...rule }];
    return Object.values(transship({ rules, events }).template().findResources('AWS::Events::Rule')).map(
      ({ Properties }) => [Properties.EventPattern['detail-type'][0], Properties.EventPattern.detail['action-type']?.[0]],
    );
  };
  const [push, deletion] = [['ECR Image Action', 'PUSH'], ['ECR Image Action', 'DELETE']];
  const [referrer, scan] = [['ECR Referrer Action', 'PUSH'], ['ECR Image Scan', undefined]];
  assert.deepEqual(details({}), [push, referrer]);
  assert.deepEqual(details({}, { referrers: false }), [push]);
  assert.deepEqual(details({}, { referrers: false, untagged: 'by-digest' }), [push, referrer]);
  assert.deepEqual(details({}, { delete: 'untag' }), [push, deletion, referrer]);
  assert.deepEqual(details({}, { scan_gate: { severity: 'HIGH' } }), [push, referrer, scan]);
  assert.deepEqual(details({ deletes: true, referrers: true, scans: true }, { referrers: false }), [
    push,
    deletion,
    referrer,
    scan,
  ]);
  assert.deepEqual(details({ referrers: false }), [push]);
});

test('a scan gate receives its messages as often as it looks while it waits', () => {
  const expect = (maxReceiveCount: number, gate: Partial<ScanGate>, maxReceives?: number) => {
    const rule = { source: { repository: 'app' }, destinations: ['ghcr.io/acme/app'] };
    const rules: RuleSettings[] = [rule, { ...rule, scan_gate: { severity: 'HIGH', ...gate } }];
    transship({ rules, maxReceives })
      .template()
      .hasResourceProperties('AWS::SQS::Queue', { RedrivePolicy: Match.objectLike({ maxReceiveCount }) });
  };
  expect(16, {});
  expect(108, { wait_minutes: 1440 });
  expect(20, { wait_minutes: 1440 }, 20);
});

test('the schedule sends a backfill', () => {
  const without = transship(EXAMPLE).template();
  without.resourceCountIs('AWS::Scheduler::Schedule', 0);
  const template = transship({ ...EXAMPLE, schedule: 'rate(1 day)' }).template();
  template.hasResourceProperties('AWS::Scheduler::Schedule', {
    ScheduleExpression: 'rate(1 day)',
    Target: Match.objectLike({ Input: '{"backfill":{}}' }),
  });
});

test('the configuration is in the environment, whole', () => {
  const template = transship({ ...EXAMPLE, limits: { max_attempts: 3 }, environment: { AWS_USE_FIPS_ENDPOINT: 'true' } }).template();
  for (const part of ['OnPush', 'Fanout']) {
    const found = variables(template, part);
    assert.deepEqual(JSON.parse(String(found['TRANSSHIP_CONFIG'])), { ...EXAMPLE, limits: { max_attempts: 3 } });
    assert.equal(found['AWS_USE_FIPS_ENDPOINT'], 'true');
    assert(found['TRANSSHIP_QUEUE_URL']);
  }
  assert.equal('TRANSSHIP_DEAD_LETTER_QUEUE_URL' in variables(template, 'OnPush'), false);
  template.resourceCountIs('AWS::SSM::Parameter', 0);
});

/** A configuration of about so many bytes. */
const long = (bytes: number): TransshipConfiguration => ({
  rules: [{ name: 'x'.repeat(bytes - 60), source: { repository: 'app' }, destinations: ['ghcr.io/a/b'] }],
});

test('a long configuration is a parameter, which the functions may read, and each configuration another one', () => {
  for (const [bytes, tier] of [
    [3700, 'Standard'],
    [8000, 'Advanced'],
  ] as const) {
    const template = transship(long(bytes)).template();
    template.hasResourceProperties('AWS::SSM::Parameter', { Tier: tier, Value: Match.stringLikeRegexp('^\\{"rules":') });
    const value = JSON.stringify(variables(template, 'OnPush')['TRANSSHIP_CONFIG']);
    assert.match(value, /ssm:/);
    const [statement] = statements(template, 'TransshipReplicationPolicy').filter(({ Sid }) => Sid === 'Configuration');
    assert.equal(statement?.Action, 'ssm:GetParameter');
    assert.match(JSON.stringify(statement?.Resource), /parameter/);
  }
  const name = (bytes: number) => JSON.stringify(Object.values(transship(long(bytes)).template().findResources('AWS::SSM::Parameter')));
  assert.notEqual(name(4000), name(4001));
});

test('the rest of the environment counts too', () => {
  const environment = { SSL_CERT_FILE: 'x'.repeat(1000) };
  transship({ ...long(3000), environment }).template().resourceCountIs('AWS::SSM::Parameter', 1);
  transship(long(3000)).template().resourceCountIs('AWS::SSM::Parameter', 0);
});

test('what fits nowhere is refused', () => {
  assert.throws(() => transship(long(9000)), /has 90\d\d bytes, and a parameter of Systems Manager takes 8192/);
  const braces = long(4000);
  braces.rules![0]!.source = { repository: '{{a,b},c}' };
  assert.throws(() => transship(braces), /\{\{/);
});

test('a configuration that is none is refused with its place', () => {
  assert.throws(
    () => transship({ rules: [{ destinations: ['ghcr.io/a/b'], existing_tag: 'replace' as 'keep' }] }),
    (error: Error) => error instanceof ConfigurationError && error.message.includes('rules[0].existing_tag: expected'),
  );
});

test('code: what is not built is missed, and what was built for another machine is refused', () => {
  assert.throws(() => TransshipCode.fromBuild('/nowhere'), /nowhere\/on-push\/bootstrap and .*`make build`/);
  const foreign = join(__dirname, 'snapshot.json');
  assert.throws(() => TransshipCode.fromBuild(foreign), /not there/);
  // The machine's own node is an ELF file for its architecture, on Linux.
  if (process.platform !== 'linux') return;
  const code = TransshipCode.fromBuild(CODE) as unknown as { files: string[] };
  code.files.push(process.execPath);
  const other = process.arch === 'arm64' ? Architecture.X86_64 : Architecture.ARM_64;
  assert.throws(
    () => transship({ ...EXAMPLE, code: code as never, architecture: other } as never),
    /built for (arm64|x86_64), but the architecture is/,
  );
});

const KEY = 'arn:aws:kms:us-east-1:111122223333:key/k';

/** The statements that a grant to a role makes; resources of the stack by their names. */
function granted(grant: (made: Transship, to: IRole) => unknown, queueKey: boolean): unknown[] {
  const { stack, transship: made, template } = transship((stack) => ({
    ...EXAMPLE,
    queueKey: queueKey ? Key.fromKeyArn(stack, 'Key', KEY) : undefined,
  }));
  grant(made, Role.fromRoleArn(stack, 'Someone', 'arn:aws:iam::111122223333:role/someone'));
  const named = (resource: unknown) => (JSON.stringify(resource).match(/Transship[A-Za-z]+(?=[0-9A-F]{8})/) ?? [resource])[0];
  return statements(template(), 'SomeonePolicy').map(({ Resource, ...rest }) => ({
    ...rest,
    Resource: Array.isArray(Resource) ? Resource.map(named) : named(Resource),
  }));
}

const Effect = 'Allow';
const USE_OF_KEY = { Effect, Action: ['kms:Decrypt', 'kms:GenerateDataKey'], Resource: KEY };
const GRANTS: Record<string, { grant: (made: Transship, to: IRole) => unknown; statements: object[]; key: object[] }> = {
  grantBackfill: {
    grant: (made, to) => made.grantBackfill(to),
    statements: [
      { Effect, Action: ['sqs:SendMessage', 'sqs:GetQueueAttributes', 'sqs:GetQueueUrl'], Resource: 'TransshipQueue' },
    ],
    key: [USE_OF_KEY],
  },
  grantRedrive: {
    grant: (made, to) => made.grantRedrive(to),
    statements: [
      {
        Effect,
        Action: [
          'sqs:StartMessageMoveTask',
          'sqs:CancelMessageMoveTask',
          'sqs:ListMessageMoveTasks',
          'sqs:ReceiveMessage',
          'sqs:DeleteMessage',
          'sqs:GetQueueAttributes',
        ],
        Resource: 'TransshipDeadLetters',
      },
      { Effect, Action: 'sqs:SendMessage', Resource: 'TransshipQueue' },
    ],
    key: [USE_OF_KEY],
  },
  grantReadDeadLetters: {
    grant: (made, to) => made.grantReadDeadLetters(to),
    statements: [
      {
        Effect,
        Action: ['sqs:ReceiveMessage', 'sqs:GetQueueAttributes'],
        Resource: ['TransshipDeadLetters', 'TransshipEventDeadLetters'],
      },
    ],
    key: [{ Effect, Action: 'kms:Decrypt', Resource: KEY }],
  },
  grantPause: {
    grant: (made, to) => made.grantPause(to),
    statements: [
      {
        Effect,
        Action: ['lambda:UpdateEventSourceMapping', 'lambda:GetEventSourceMapping'],
        Resource: 'TransshipFanoutMapping',
      },
    ],
    key: [],
  },
};

for (const [name, { grant, statements: wanted, key }] of Object.entries(GRANTS)) {
  test(`${name} allows what it says, and with a key the use of it, and nothing else`, () => {
    assert.deepEqual(granted(grant, false), wanted);
    assert.deepEqual(granted(grant, true), [...wanted, ...key]);
  });
}

test('every grant is tried, and in the table of the README', () => {
  const methods = Object.getOwnPropertyNames(Transship.prototype).filter((name) => name.startsWith('grant'));
  assert.deepEqual(methods.sort(), Object.keys(GRANTS).sort());
  const readme = readFileSync(join(__dirname, '../README.md'), 'utf8');
  for (const name of methods) assert(readme.includes(`| \`${name}(grantee)\` |`), name);
});

test('a backfill may be granted to another account, whose queue policy says so', () => {
  const { stack, transship: made, template } = transship(EXAMPLE);
  made.grantBackfill(Role.fromRoleArn(stack, 'Someone', 'arn:aws:iam::222233334444:role/someone', { mutable: false }));
  const [statement] = statements(template(), 'TransshipQueuePolicy').filter(({ Effect }) => Effect === 'Allow');
  assert.deepEqual(
    [statement?.Action, statement?.Principal],
    [
      ['sqs:SendMessage', 'sqs:GetQueueAttributes', 'sqs:GetQueueUrl'],
      { AWS: 'arn:aws:iam::222233334444:role/someone' },
    ],
  );
});

test('more repositories than the rules name can be allowed', () => {
  const { transship: made, template } = transship(EXAMPLE);
  const arn = 'arn:aws:ecr:us-east-1:111122223333:repository/';
  made.allowPull(`${arn}a`);
  made.allowPush(`${arn}b/*`, `${arn}c`);
  made.allowPull(`${arn}d`);
  made.allowListing(`${arn}*`);
  const allowed = (id: string) => statements(template(), id).filter(({ Sid }) => Sid?.startsWith('Allowed'));
  const pull = ['ecr:BatchGetImage', 'ecr:GetDownloadUrlForLayer', 'ecr:DescribeImages', 'ecr:ListImages'];
  const push = [
    'ecr:BatchCheckLayerAvailability',
    'ecr:BatchGetImage',
    'ecr:CompleteLayerUpload',
    'ecr:InitiateLayerUpload',
    'ecr:PutImage',
    'ecr:UploadLayerPart',
  ];
  assert.deepEqual(allowed('TransshipReplicationPolicy'), [
    { Sid: 'AllowedPull1', Effect, Action: pull, Resource: `${arn}a` },
    { Sid: 'AllowedPush2', Effect, Action: push, Resource: [`${arn}b/*`, `${arn}c`] },
    { Sid: 'AllowedPull3', Effect, Action: pull, Resource: `${arn}d` },
  ]);
  // on-push hears of no backfills.
  assert.deepEqual(allowed('TransshipFanoutRole').concat(allowed('TransshipOnPushRole')), [
    { Sid: 'AllowedListing4', Effect, Action: 'ecr:DescribeRepositories', Resource: `${arn}*` },
  ]);
});

test('what is allowed beside the rules comes with the login that it takes, once', () => {
  const { transship: made, template } = transship({ rules: [] });
  made.allowPush('arn:aws:ecr:us-east-1:111122223333:repository/a', 'arn:aws:ecr-public::111122223333:repository/b');
  made.allowPull('arn:aws:ecr:us-east-1:111122223333:repository/c');
  made.allowPull('arn:aws:ecr-public::444455556666:repository/d');
  assert.deepEqual(
    statements(template(), 'TransshipReplicationPolicy').map(({ Sid }) => Sid),
    ['Login', 'PublicLogin', 'PublicLoginToken', 'AllowedPush1', 'AllowedPublicPush2', 'AllowedPublicAliases3', 'AllowedPull4'],
  );
});

test('alarms tell the topic when they are set off and when they are over', () => {
  const { template, transship: made } = transship((stack) => ({
    ...EXAMPLE,
    alarms: { topic: Topic.fromTopicArn(stack, 'Topic', 'arn:aws:sns:us-east-1:111122223333:operations'), failures: 2 },
  }));
  template().resourceCountIs('AWS::CloudWatch::Alarm', 6);
  template().allResourcesProperties('AWS::CloudWatch::Alarm', {
    AlarmActions: ['arn:aws:sns:us-east-1:111122223333:operations'],
    OKActions: ['arn:aws:sns:us-east-1:111122223333:operations'],
  });
  assert.equal(made.alarms.length, 6);
});

test('a shorter timeout moves what is measured by it', () => {
  const template = transship({ ...EXAMPLE, timeout: Duration.minutes(5) }).template();
  template.hasResourceProperties('AWS::CloudWatch::Alarm', { AlarmDescription: Match.stringLikeRegexp('timeout'), Threshold: 290_000 });
  const [dashboard] = Object.values(template.findResources('AWS::CloudWatch::Dashboard'));
  assert.match(JSON.stringify(dashboard), /\{\\"label\\":\\"timeout\\",\\"value\\":300000\}/);
});

test('in a VPC the functions may have interfaces, and their code may not make any', () => {
  const template = transship((stack) => {
    const vpc = Vpc.fromVpcAttributes(stack, 'Vpc', {
      vpcId: 'vpc-0',
      availabilityZones: ['us-east-1a'],
      privateSubnetIds: ['subnet-0'],
    });
    return { ...EXAMPLE, vpc, securityGroups: [SecurityGroup.fromSecurityGroupId(stack, 'Group', 'sg-0')] };
  }).template();
  template.allResourcesProperties('AWS::Lambda::Function', {
    VpcConfig: { SubnetIds: ['subnet-0'], SecurityGroupIds: ['sg-0'] },
  });
  assert.deepEqual(statements(template, 'TransshipVpcPolicy').map(({ Effect }) => Effect), ['Allow', 'Deny']);
});

test('two in one stack have names of their own', () => {
  const { stack, template } = transship({ ...EXAMPLE, name: 'one' });
  new Transship(stack, 'Other', { ...EXAMPLE, name: 'two', code: TransshipCode.fromBuild(CODE) });
  const names = Object.values(template().findResources('AWS::SQS::Queue')).map(({ Properties }) => Properties.QueueName);
  assert.deepEqual(names.sort(), [
    'one-dead-letters',
    'one-event-dead-letters',
    'one-queue',
    'two-dead-letters',
    'two-event-dead-letters',
    'two-queue',
  ]);
});

test('a key of the same app lets EventBridge write to the queue that it encrypts', () => {
  const template = transship((stack) => ({ ...EXAMPLE, queueKey: new Key(stack, 'Key') })).template();
  template.hasResourceProperties('AWS::KMS::Key', {
    KeyPolicy: { Statement: Match.arrayWith([Match.objectLike({ Principal: { Service: 'events.amazonaws.com' } })]) },
  });
  template.allResourcesProperties('AWS::SQS::Queue', { KmsMasterKeyId: Match.anyValue() });
});
