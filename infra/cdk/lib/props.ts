import type { Duration } from 'aws-cdk-lib';
import type { ISecurityGroup, IVpc, SubnetSelection } from 'aws-cdk-lib/aws-ec2';
import type { IKey } from 'aws-cdk-lib/aws-kms';
import type { ApplicationLogLevel, Architecture } from 'aws-cdk-lib/aws-lambda';
import type { RetentionDays } from 'aws-cdk-lib/aws-logs';
import type { ITopic } from 'aws-cdk-lib/aws-sns';
import type { TransshipCode } from './code';
import type { TransshipConfiguration } from './generated/configuration';

/**
 * What a `Transship` is made of: the configuration, and how its functions run.
 *
 * `rules`, `registries` and `limits` are the configuration document's own, with its spelling of keys: what the
 * documentation shows as JSON is written here as it stands there. Everything else is about the deployment.
 */
export interface TransshipProps extends Readonly<TransshipConfiguration> {
  /** The functions' binaries: `TransshipCode.fromBuild('target/lambda')` takes what `make build` made. */
  readonly code: TransshipCode;

  /**
   * Begins the names of the queues, the log groups and the dashboard. Two in one stack need one of their own.
   *
   * @default - the stack's name
   */
  readonly name?: string;

  /**
   * The functions' instruction set, which the binaries must have been built for.
   *
   * @default Architecture.ARM_64
   */
  readonly architecture?: Architecture;

  /**
   * Memory of each function in MB, 128 to 10240; CPU comes with it.
   *
   * @default 512
   */
  readonly memorySize?: number;

  /**
   * How long an invocation may take, 1 to 15 minutes. Messages stay hidden for six times as long.
   *
   * @default Duration.minutes(15)
   */
  readonly timeout?: Duration;

  /**
   * How many messages of the queue are worked on at once, 2 to 1000.
   *
   * @default 10
   */
  readonly maxConcurrency?: number;

  /**
   * How often a message is received before it is given up, 5 to 1000. Each look for a scan is one.
   *
   * @default 5; with a `scan_gate` 12, and one more for each 15 of its `wait_minutes`
   */
  readonly maxReceives?: number;

  /**
   * Concurrency that is reserved for on-push, and its limit.
   *
   * @default - neither
   */
  readonly onPushConcurrency?: number;

  /**
   * When to look for images that are missing, as EventBridge Scheduler writes it, in UTC: `rate(1 day)`.
   *
   * @default - never
   */
  readonly schedule?: string;

  /**
   * What the schedule asks for: the value of a backfill message's `backfill`.
   *
   * @default {} - all that the rules say
   */
  readonly sweep?: Record<string, unknown>;

  /** Which events on-push is told of beside pushes. */
  readonly events?: EventKinds;

  /**
   * Level of the log lines beside results and metrics, which are always written.
   *
   * @default ApplicationLogLevel.INFO
   */
  readonly logLevel?: ApplicationLogLevel;

  /**
   * How long log lines are kept.
   *
   * @default RetentionDays.ONE_MONTH
   */
  readonly logRetention?: RetentionDays;

  /** What sets off alarms, and who is told. */
  readonly alarms?: AlarmProps;

  /**
   * A key for the queues. The policy of one that is only referred to must let events.amazonaws.com use it.
   *
   * @default - the key of SQS
   */
  readonly queueKey?: IKey;

  /**
   * Customer managed keys that the secrets are encrypted with.
   *
   * @default - the secrets have the account's own key, which needs no right
   */
  readonly secretKeys?: IKey[];

  /**
   * More variables of both functions, such as `AWS_USE_FIPS_ENDPOINT`.
   *
   * @default - none
   */
  readonly environment?: Record<string, string>;

  /**
   * A VPC for the functions. One without internet needs endpoints.
   *
   * @default - none
   */
  readonly vpc?: IVpc;

  /**
   * Which of its subnets.
   *
   * @default - those with a way out
   */
  readonly vpcSubnets?: SubnetSelection;

  /**
   * Security groups of the functions; HTTPS must get out.
   *
   * @default - a new one for each function
   */
  readonly securityGroups?: ISecurityGroup[];
}

/** Events of ECR beside pushed images. */
export interface EventKinds {
  /**
   * Deleted images.
   *
   * @default - whether a rule has `delete`
   */
  readonly deletes?: boolean;

  /**
   * Pushed referrers, which come after their image.
   *
   * @default - unless every rule has `referrers: false`
   */
  readonly referrers?: boolean;

  /**
   * Finished scans.
   *
   * @default - whether a rule has `scan_gate`
   */
  readonly scans?: boolean;
}

/** What sets off alarms, and who is told. */
export interface AlarmProps {
  /**
   * Where alarms go when they are set off, and when they are over.
   *
   * @default - they are only seen
   */
  readonly topic?: ITopic;

  /**
   * Age of the queue's oldest message.
   *
   * @default Duration.hours(1)
   */
  readonly queueAge?: Duration;

  /**
   * Failures in 15 minutes.
   *
   * @default 5
   */
  readonly failures?: number;

  /**
   * Time from a push to its tag at the destination, 95th percentile.
   *
   * @default Duration.minutes(15)
   */
  readonly lag?: Duration;

  /**
   * Requests in 15 minutes that registries asked to slow down.
   *
   * @default 300
   */
  readonly throttling?: number;
}
