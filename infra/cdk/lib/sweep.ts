// The schedule that looks for images whose events were lost.

import { Stack } from 'aws-cdk-lib';
import { PolicyDocument, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { CfnSchedule } from 'aws-cdk-lib/aws-scheduler';
import type { Construct } from 'constructs';
import type { Queues } from './queues';
import { queueKey } from './rights';

/** Sends a backfill message to the queue when `expression` says. */
export function makeSweep(scope: Construct, queues: Queues, expression: string, backfill: Record<string, unknown>): Role {
  const { queue, deadLetters } = queues;
  const role = new Role(scope, 'SweepRole', {
    description: "Lets the scheduler send Transship's sweep.",
    assumedBy: new ServicePrincipal('scheduler.amazonaws.com', {
      conditions: { StringEquals: { 'aws:SourceAccount': Stack.of(scope).account } },
    }),
    inlinePolicies: {
      sweep: new PolicyDocument({
        statements: [
          new PolicyStatement({
            sid: 'Send',
            actions: ['sqs:SendMessage'],
            resources: [queue.queueArn, deadLetters.queueArn],
          }),
          ...queueKey(queue.encryptionMasterKey),
        ],
      }),
    },
  });
  new CfnSchedule(scope, 'Sweep', {
    description: 'Looks for images whose events were lost.',
    scheduleExpression: expression,
    flexibleTimeWindow: { mode: 'OFF' },
    target: {
      arn: queue.queueArn,
      roleArn: role.roleArn,
      input: JSON.stringify({ backfill }),
      retryPolicy: { maximumRetryAttempts: 185, maximumEventAgeInSeconds: 3600 },
      deadLetterConfig: { arn: deadLetters.queueArn },
    },
  });
  return role;
}
