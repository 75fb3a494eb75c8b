import { Aws, Duration, RemovalPolicy, Stack } from 'aws-cdk-lib';
import { AnyPrincipal, Effect, PolicyStatement, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import type { IKey } from 'aws-cdk-lib/aws-kms';
import { Queue, QueueEncryption, RedrivePermission, type QueueProps } from 'aws-cdk-lib/aws-sqs';
import type { Construct } from 'constructs';

/** The work queue and where what fails for good is kept. */
export interface Queues {
  readonly queue: Queue;
  readonly deadLetters: Queue;
  readonly eventDeadLetters: Queue;
}

/** Makes them; each refuses what comes without TLS. */
export function queues(
  scope: Construct,
  name: string,
  timeout: Duration,
  maxReceiveCount: number,
  key: IKey | undefined,
): Queues {
  const stack = Stack.of(scope);
  const common: QueueProps = {
    retentionPeriod: Duration.days(14),
    removalPolicy: RemovalPolicy.DESTROY,
    ...(key
      ? { encryption: QueueEncryption.KMS, encryptionMasterKey: key }
      : { encryption: QueueEncryption.SQS_MANAGED }),
  };
  // Named, so that its dead-letter queue can name it too: each referring to the other would be a circle.
  const queueName = `${name}-queue`;
  const deadLetters = new Queue(scope, 'DeadLetters', {
    ...common,
    queueName: `${name}-dead-letters`,
    redriveAllowPolicy: {
      redrivePermission: RedrivePermission.BY_QUEUE,
      sourceQueues: [
        Queue.fromQueueArn(scope, 'QueueByName', `arn:${Aws.PARTITION}:sqs:${stack.region}:${stack.account}:${queueName}`),
      ],
    },
  });
  const queue = new Queue(scope, 'Queue', {
    ...common,
    queueName,
    // Six times the functions' timeout, as Lambda asks of an event source.
    visibilityTimeout: Duration.seconds(6 * timeout.toSeconds()),
    deadLetterQueue: { queue: deadLetters, maxReceiveCount },
  });
  // Events that EventBridge could not hand over, and those that on-push failed at for good: two formats, and fanout
  // reads neither. So they are apart.
  const eventDeadLetters = new Queue(scope, 'EventDeadLetters', {
    ...common,
    queueName: `${name}-event-dead-letters`,
    redriveAllowPolicy: { redrivePermission: RedrivePermission.DENY_ALL },
  });
  for (const each of [queue, deadLetters, eventDeadLetters]) {
    each.addToResourcePolicy(
      new PolicyStatement({
        sid: 'TlsOnly',
        effect: Effect.DENY,
        principals: [new AnyPrincipal()],
        actions: ['sqs:*'],
        resources: [each.queueArn],
        conditions: { Bool: { 'aws:SecureTransport': 'false' } },
      }),
    );
  }
  return { queue, deadLetters, eventDeadLetters };
}

/** Lets EventBridge put events of these rules into a queue. */
export function letRulesWrite(queue: Queue, key: IKey | undefined, rules: string[]): void {
  const events = new ServicePrincipal('events.amazonaws.com');
  queue.addToResourcePolicy(
    new PolicyStatement({
      sid: 'Events',
      principals: [events],
      actions: ['sqs:SendMessage'],
      resources: [queue.queueArn],
      conditions: { ArnEquals: { 'aws:SourceArn': rules } },
    }),
  );
  // By account: the key naming the rules, which name the queue, which names the key, would be a circle.
  key?.addToResourcePolicy(
    new PolicyStatement({
      principals: [events],
      actions: ['kms:Decrypt', 'kms:GenerateDataKey'],
      resources: ['*'],
      conditions: { StringEquals: { 'aws:SourceAccount': Stack.of(queue).account } },
    }),
  );
}
