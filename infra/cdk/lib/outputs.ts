import { CfnOutput, Stack } from 'aws-cdk-lib';
import type { Transship } from './transship';

/** Adds the outputs to the stack of `transship` that SAM's stack has, by the same names. */
export function addOutputs(transship: Transship): void {
  const stack = Stack.of(transship);
  const outputs: [name: string, description: string, value: string][] = [
    ['QueueUrl', 'The queue that messages and backfills are sent to.', transship.queue.queueUrl],
    ['QueueArn', 'Its ARN.', transship.queue.queueArn],
    ['DeadLettersUrl', 'Messages that were given up.', transship.deadLetters.queueUrl],
    ['DeadLettersArn', 'Its ARN, for a redrive.', transship.deadLetters.queueArn],
    ['EventDeadLettersUrl', 'Events that were given up.', transship.eventDeadLetters.queueUrl],
    ['OnPushArn', 'The function on-push.', transship.onPush.functionArn],
    ['FanoutArn', 'The function fanout.', transship.fanout.functionArn],
    ['FanoutMappingId', 'The event source mapping, to pause fanout with.', transship.fanoutMappingId],
    ['OnPushRoleArn', 'The role of on-push, for policies of other accounts.', transship.onPushRole.roleArn],
    ['FanoutRoleArn', 'The role of fanout, for policies of other accounts.', transship.fanoutRole.roleArn],
    ['DashboardName', 'The CloudWatch dashboard.', transship.dashboardName],
  ];
  for (const [name, description, value] of outputs) {
    new CfnOutput(stack, name, { description, value });
  }
}
