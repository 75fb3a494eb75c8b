import { Aws, Duration, RemovalPolicy, Stack, Token } from 'aws-cdk-lib';
import { Alarm, type IAlarm } from 'aws-cdk-lib/aws-cloudwatch';
import {
  Grant,
  Policy,
  PolicyDocument,
  PolicyStatement,
  Role,
  ServicePrincipal,
  type IGrantable,
} from 'aws-cdk-lib/aws-iam';
import {
  ApplicationLogLevel,
  Architecture,
  CfnEventInvokeConfig,
  CfnEventSourceMapping,
  Function as LambdaFunction,
  LoggingFormat,
  RecursiveLoop,
  Runtime,
  SystemLogLevel,
  Tracing,
  type FunctionProps,
} from 'aws-cdk-lib/aws-lambda';
import { LogGroup, RetentionDays } from 'aws-cdk-lib/aws-logs';
import type { Queue } from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';
import { accessFor, eventsFor, receivesFor, type Home } from './access';
import { makeAlarms } from './alarms';
import { check, CONFIGURATION_KEYS } from './check';
import { place } from './environment';
import { eventRules } from './events';
import { acknowledge, acknowledgeWildcards } from './exceptions';
import type { TransshipConfiguration } from './generated/configuration';
import { makeDashboard, saveQueries } from './operations';
import type { TransshipProps } from './props';
import { letRulesWrite, queues } from './queues';
import { hostOf, partitionOf } from './registries';
import {
  beside,
  draining,
  interfaces,
  listing,
  queueKey,
  replication,
  sending,
  telling,
  tooLong,
} from './rights';
import { makeSweep } from './sweep';

/**
 * Replicates container images from Amazon ECR to other registries, and between any others.
 *
 * Two functions, `onPush` for images that were just pushed and `fanout` for what is in the queue; what failed for good
 * is kept in `deadLetters` and `eventDeadLetters`. Each function has a role of its own with the rights that the
 * configuration needs, and no more.
 */
export class Transship extends Construct {
  /** Replicates the image that was just pushed. */
  readonly onPush: LambdaFunction;
  /** Replicates the images that the queue's messages name. */
  readonly fanout: LambdaFunction;
  /** The role of on-push, for policies of other accounts. */
  readonly onPushRole: Role;
  /** The role of fanout, likewise. */
  readonly fanoutRole: Role;
  /** What messages and backfills are sent to. */
  readonly queue: Queue;
  /** Messages that were given up. */
  readonly deadLetters: Queue;
  /** Events that were given up. */
  readonly eventDeadLetters: Queue;
  /** The log group of on-push. */
  readonly onPushLogs: LogGroup;
  /** The log group of fanout. */
  readonly fanoutLogs: LogGroup;
  /** All alarms. */
  readonly alarms: IAlarm[];
  /** The dashboard's name. */
  readonly dashboardName: string;
  /** The id of the event source mapping, to pause fanout with. */
  readonly fanoutMappingId: string;

  private readonly replication: Policy;
  private allowed = 0;
  /** The logins that the roles have a right to. */
  private readonly logins: Set<string>;

  /**
   * @throws ConfigurationError if the functions could not use the configuration, with every mistake and where it is.
   */
  constructor(scope: Construct, id: string, props: TransshipProps) {
    super(scope, id);
    const stack = Stack.of(this);
    const name = props.name ?? Aws.STACK_NAME;
    const timeout = props.timeout ?? Duration.minutes(15);
    const architecture = props.architecture ?? Architecture.ARM_64;
    props.code._check(architecture);

    const configuration = configurationOf(props);
    check(configuration);
    const access = accessFor(configuration, home(stack));

    const made = queues(this, name, timeout, props.maxReceives ?? receivesFor(configuration), props.queueKey);
    this.queue = made.queue;
    this.deadLetters = made.deadLetters;
    this.eventDeadLetters = made.eventDeadLetters;
    this.onPushLogs = this.logs('OnPushLogs', `/transship/${name}/on-push`, props);
    this.fanoutLogs = this.logs('FanoutLogs', `/transship/${name}/fanout`, props);

    const placed = place(this, configuration, name, props.environment ?? {});
    this.onPushRole = this.role('OnPushRole', 'on-push', [
      ...telling(this.onPushLogs),
      ...sending(this.queue, this.eventDeadLetters),
    ]);
    this.fanoutRole = this.role('FanoutRole', 'fanout', [
      ...telling(this.fanoutLogs),
      ...draining(this.queue, this.deadLetters),
      ...listing(access),
    ]);
    const secretKeys = (props.secretKeys ?? []).map((key) => key.keyArn);
    const replicationStatements = replication(access, secretKeys);
    this.logins = new Set(replicationStatements.flatMap(({ sid }) => (sid?.includes('Login') ? [sid] : [])));
    this.replication = this.policy('ReplicationPolicy', 'replication', [
      ...replicationStatements,
      ...(placed.parameter
        ? [
            new PolicyStatement({
              sid: 'Configuration',
              actions: ['ssm:GetParameter'],
              resources: [placed.parameter.parameterArn],
            }),
          ]
        : []),
      ...queueKey(props.queueKey),
    ]);
    const policies = [this.replication];
    if (props.vpc) policies.push(this.policy('VpcPolicy', 'vpc', interfaces(stack)));

    const common: Omit<FunctionProps, 'code'> = {
      runtime: Runtime.PROVIDED_AL2023,
      handler: 'bootstrap',
      architecture,
      memorySize: props.memorySize ?? 512,
      timeout,
      tracing: Tracing.ACTIVE,
      loggingFormat: LoggingFormat.JSON,
      applicationLogLevelV2: props.logLevel ?? ApplicationLogLevel.INFO,
      systemLogLevelV2: SystemLogLevel.INFO,
      // A continuation and a backfill go through the queue to their own function, more often than Lambda's loop
      // detection allows; each counts its rounds and ends when two in a row achieved nothing.
      recursiveLoop: RecursiveLoop.ALLOW,
      vpc: props.vpc,
      vpcSubnets: props.vpcSubnets,
      securityGroups: props.securityGroups,
      environment: {
        ...props.environment,
        TRANSSHIP_CONFIG: placed.value,
        TRANSSHIP_QUEUE_URL: this.queue.queueUrl,
      },
    };
    this.onPush = new LambdaFunction(this, 'OnPush', {
      ...common,
      description: 'Replicates the image that was just pushed.',
      code: props.code.onPush,
      // Its rights are all said above: what constructs would add by themselves is on every resource, or too much.
      role: this.onPushRole.withoutPolicyUpdates(),
      logGroup: this.onPushLogs,
      reservedConcurrentExecutions: props.onPushConcurrency,
    });
    this.fanout = new LambdaFunction(this, 'Fanout', {
      ...common,
      description: "Replicates the images that the queue's messages name.",
      code: props.code.fanout,
      role: this.fanoutRole.withoutPolicyUpdates(),
      logGroup: this.fanoutLogs,
      environment: { ...common.environment, TRANSSHIP_DEAD_LETTER_QUEUE_URL: this.deadLetters.queueUrl },
    });
    policies.forEach((policy) => [this.onPush, this.fanout].forEach((each) => each.node.addDependency(policy)));

    new CfnEventInvokeConfig(this, 'OnPushEventInvokeConfig', {
      functionName: this.onPush.functionName,
      qualifier: '$LATEST',
      maximumRetryAttempts: 2,
      maximumEventAgeInSeconds: Duration.hours(6).toSeconds(),
      destinationConfig: { onFailure: { destination: this.eventDeadLetters.queueArn } },
    });
    const needed = eventsFor(configuration);
    const rules = eventRules(this, this.onPush, this.eventDeadLetters, {
      deletes: props.events?.deletes ?? needed.deletes,
      referrers: props.events?.referrers ?? needed.referrers,
      scans: props.events?.scans ?? needed.scans,
    });
    letRulesWrite(this.eventDeadLetters, props.queueKey, rules.map((rule) => rule.attrArn));
    const mapping = new CfnEventSourceMapping(this, 'FanoutMapping', {
      functionName: this.fanout.functionName,
      eventSourceArn: this.queue.queueArn,
      batchSize: 1,
      functionResponseTypes: ['ReportBatchItemFailures'],
      scalingConfig: { maximumConcurrency: props.maxConcurrency ?? 10 },
    });
    this.fanoutMappingId = mapping.ref;
    if (props.schedule) makeSweep(this, made, props.schedule, props.sweep ?? {});

    const { onPush, fanout, onPushLogs, fanoutLogs } = this;
    const watched = { ...made, name, timeout, onPush, fanout, onPushLogs, fanoutLogs };
    const alarms = makeAlarms(this, watched, props.alarms ?? {});
    this.alarms = alarms.map((alarm) => Alarm.fromAlarmArn(this, `${alarm.node.id}Arn`, alarm.attrArn));
    this.dashboardName = makeDashboard(this, watched, alarms).ref;
    saveQueries(this, watched);
    this.node.addValidation({ validate: () => tooLong(this, [this.onPushRole, this.fanoutRole]) });
    acknowledge({ ...made, onPush, fanout, mapping, roles: [this.onPushRole, this.fanoutRole] });
  }

  /** Lets somebody send messages to the queue: single images and backfills. */
  grantBackfill(grantee: IGrantable): Grant {
    const sent = Grant.addToPrincipalOrResource({
      grantee,
      actions: ['sqs:SendMessage', 'sqs:GetQueueAttributes', 'sqs:GetQueueUrl'],
      resourceArns: [this.queue.queueArn],
      resource: this.queue,
    });
    // The queue's own grantSendMessages would allow all uses of the key.
    const key = this.queue.encryptionMasterKey?.grant(grantee, 'kms:Decrypt', 'kms:GenerateDataKey');
    return key ? sent.combine(key) : sent;
  }

  /** Lets somebody move dead letters back into the queue, and watch that. */
  grantRedrive(grantee: IGrantable): Grant {
    const moved = Grant.addToPrincipal({
      grantee,
      actions: [
        'sqs:StartMessageMoveTask',
        'sqs:CancelMessageMoveTask',
        'sqs:ListMessageMoveTasks',
        'sqs:ReceiveMessage',
        'sqs:DeleteMessage',
        'sqs:GetQueueAttributes',
      ],
      resourceArns: [this.deadLetters.queueArn],
    });
    const sent = Grant.addToPrincipal({ grantee, actions: ['sqs:SendMessage'], resourceArns: [this.queue.queueArn] });
    const key = this.queue.encryptionMasterKey?.grant(grantee, 'kms:Decrypt', 'kms:GenerateDataKey');
    return key ? moved.combine(sent).combine(key) : moved.combine(sent);
  }

  /** Lets somebody look at what was given up, messages and events, without taking it away. */
  grantReadDeadLetters(grantee: IGrantable): Grant {
    const read = Grant.addToPrincipal({
      grantee,
      actions: ['sqs:ReceiveMessage', 'sqs:GetQueueAttributes'],
      resourceArns: [this.deadLetters.queueArn, this.eventDeadLetters.queueArn],
    });
    const key = this.queue.encryptionMasterKey?.grantDecrypt(grantee);
    return key ? read.combine(key) : read;
  }

  /** Lets somebody stop fanout and let it go on. */
  grantPause(grantee: IGrantable): Grant {
    const { partition, region, account } = Stack.of(this);
    return Grant.addToPrincipal({
      grantee,
      actions: ['lambda:UpdateEventSourceMapping', 'lambda:GetEventSourceMapping'],
      resourceArns: [`arn:${partition}:lambda:${region}:${account}:event-source-mapping:${this.fanoutMappingId}`],
    });
  }

  /**
   * Lets both functions read images of more ECR repositories than the rules name, for messages that name them: ARNs, of
   * ECR Public too. `*` may stand in them.
   */
  allowPull(...repositoryArns: string[]): void {
    this.allow(beside('pull', repositoryArns));
  }

  /** Lets both functions write images to more ECR repositories than the rules name, likewise. */
  allowPush(...repositoryArns: string[]): void {
    this.allow(beside('push', repositoryArns));
  }

  /**
   * Lets fanout list the repositories of more ECR registries, for backfills that name a glob of them:
   * `arn:aws:ecr:REGION:ACCOUNT:repository/*`.
   */
  allowListing(...registryArns: string[]): void {
    const statement = new PolicyStatement({
      sid: this.next('AllowedListing'),
      actions: ['ecr:DescribeRepositories'],
      resources: registryArns,
    });
    this.fanoutRole.addToPolicy(statement);
    acknowledgeWildcards(this.fanoutRole, [statement]);
  }

  /** A `Sid` that no other statement has, as IAM wants it. */
  private next(sid: string): string {
    this.allowed += 1;
    return `${sid}${this.allowed}`;
  }

  private allow(statements: PolicyStatement[]): void {
    for (const statement of statements) {
      const isLogin = statement.sid?.includes('Login') ?? false;
      if (isLogin && this.logins.has(statement.sid!)) continue;
      if (isLogin) this.logins.add(statement.sid!);
      else statement.sid = this.next(statement.sid ?? '');
      this.replication.addStatements(statement);
      acknowledgeWildcards(this.replication, [statement]);
    }
  }

  private logs(id: string, logGroupName: string, props: TransshipProps): LogGroup {
    return new LogGroup(this, id, {
      logGroupName,
      retention: props.logRetention ?? RetentionDays.ONE_MONTH,
      removalPolicy: RemovalPolicy.DESTROY,
    });
  }

  private role(id: string, name: string, statements: PolicyStatement[]): Role {
    const role = new Role(this, id, {
      description: `What Transship's ${name} may do.`,
      assumedBy: new ServicePrincipal('lambda.amazonaws.com'),
      inlinePolicies: { [name]: new PolicyDocument({ statements }) },
    });
    acknowledgeWildcards(role, statements);
    return role;
  }

  /** A policy of both functions' roles. */
  private policy(id: string, policyName: string, statements: PolicyStatement[]): Policy {
    const policy = new Policy(this, id, { policyName, roles: [this.onPushRole, this.fanoutRole], statements });
    acknowledgeWildcards(policy, statements);
    return policy;
  }
}

/** Of the props, those that are the configuration's. */
function configurationOf(props: TransshipProps): TransshipConfiguration {
  return Object.fromEntries(CONFIGURATION_KEYS.filter((key) => props[key] !== undefined).map((key) => [key, props[key]]));
}

function home(stack: Stack): Home {
  const { account, region } = stack;
  const partition = Token.isUnresolved(region) ? stack.partition : partitionOf(region);
  return { account, region, partition, registry: hostOf(account, region) };
}
