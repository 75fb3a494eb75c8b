// What sets off an alarm; docs/operations.md says what to do at each.

import { Duration } from 'aws-cdk-lib';
import { CfnAlarm, type CfnAlarmProps } from 'aws-cdk-lib/aws-cloudwatch';
import type { Construct } from 'constructs';
import type { Watched } from './operations';
import type { AlarmProps } from './props';

/** The namespaces of our own metrics, of Lambda's and of the queues'. */
const OURS = 'Transship';
const LAMBDA = 'AWS/Lambda';
const QUEUES = 'AWS/SQS';

/** How long before the timeout an invocation that should have handed its work over still runs. */
const NEAR = Duration.seconds(10);

/** Makes the alarms. */
export function makeAlarms(scope: Construct, watched: Watched, props: AlarmProps): CfnAlarm[] {
  const actions = props.topic && [props.topic.topicArn];
  const alarm = (id: string, about: string, rest: Partial<CfnAlarmProps>) =>
    new CfnAlarm(scope, id, {
      alarmDescription: `${about} docs/operations.md, ${id}.`,
      comparisonOperator: 'GreaterThanOrEqualToThreshold',
      evaluationPeriods: 1,
      datapointsToAlarm: 1,
      treatMissingData: 'notBreaching',
      alarmActions: actions,
      okActions: actions,
      ...rest,
    });
  const { queue, deadLetters, eventDeadLetters, onPush, fanout, timeout } = watched;
  const both = (namespace: string, metricName: string, dimension: string, stat: string, period: Duration) => [
    metric('pushes', namespace, metricName, [dimension, onPush.functionName], stat, period),
    metric('messages', namespace, metricName, [dimension, fanout.functionName], stat, period),
  ];
  const fiveMinutes = Duration.minutes(5);
  const quarter = Duration.minutes(15);

  return [
    alarm('DeadLettersAlarm', 'Messages or events that were given up.', {
      threshold: 1,
      metrics: [
        result('letters', 'FILL(messages, 0) + FILL(events, 0)', 'dead letters'),
        ...([['messages', deadLetters], ['events', eventDeadLetters]] as const).map(([id, { queueName }]) =>
          metric(id, QUEUES, 'ApproximateNumberOfMessagesVisible', ['QueueName', queueName], 'Maximum', fiveMinutes),
        ),
      ],
    }),
    alarm('QueueAgeAlarm', "The queue's oldest message waits too long.", {
      threshold: (props.queueAge ?? Duration.hours(1)).toSeconds(),
      evaluationPeriods: 3,
      datapointsToAlarm: 3,
      namespace: QUEUES,
      metricName: 'ApproximateAgeOfOldestMessage',
      dimensions: [{ name: 'QueueName', value: queue.queueName }],
      statistic: 'Maximum',
      period: fiveMinutes.toSeconds(),
    }),
    // A push that failed is an error of its invocation too, and is to count once; a message that failed is none, but
    // for one that ended with its invocation.
    alarm('FailuresAlarm', 'Syncs that failed, and invocations that died.', {
      threshold: props.failures ?? 5,
      metrics: [
        result(
          'failures',
          'MAX([FILL(pushes, 0), FILL(pusherrors, 0)]) + FILL(messages, 0) + FILL(messageerrors, 0)',
          'failures',
        ),
        ...both(OURS, 'Failed', 'Function', 'Sum', quarter),
        metric('pusherrors', LAMBDA, 'Errors', ['FunctionName', onPush.functionName], 'Sum', quarter),
        metric('messageerrors', LAMBDA, 'Errors', ['FunctionName', fanout.functionName], 'Sum', quarter),
      ],
    }),
    alarm('LagAlarm', 'Pushes take long to get to their destinations.', {
      threshold: (props.lag ?? Duration.minutes(15)).toMilliseconds(),
      evaluationPeriods: 3,
      datapointsToAlarm: 2,
      metrics: [
        result('lag', 'MAX([FILL(pushes, 0), FILL(messages, 0)])', 'replication lag'),
        ...both(OURS, 'ReplicationLag', 'Function', 'p95', fiveMinutes),
      ],
    }),
    alarm('ThrottlingAlarm', 'Registries ask to slow down.', {
      threshold: props.throttling ?? 300,
      evaluationPeriods: 2,
      datapointsToAlarm: 2,
      metrics: [
        result('throttled', 'FILL(pushes, 0) + FILL(messages, 0)', 'requests that were throttled'),
        ...both(OURS, 'Throttled', 'Function', 'Sum', quarter),
      ],
    }),
    alarm('NearTimeoutAlarm', 'Invocations come within ten seconds of their timeout.', {
      threshold: timeout.minus(NEAR).toMilliseconds(),
      metrics: [
        result('longest', 'MAX([FILL(pushes, 0), FILL(messages, 0)])', 'longest invocation'),
        ...both(LAMBDA, 'Duration', 'FunctionName', 'Maximum', fiveMinutes),
      ],
    }),
  ];
}

function result(id: string, expression: string, label: string): CfnAlarm.MetricDataQueryProperty {
  return { id, expression, label, returnData: true };
}

function metric(
  id: string,
  namespace: string,
  metricName: string,
  [name, value]: readonly [string, string],
  stat: string,
  period: Duration,
): CfnAlarm.MetricDataQueryProperty {
  return {
    id,
    returnData: false,
    metricStat: {
      metric: { namespace, metricName, dimensions: [{ name, value }] },
      stat,
      period: period.toSeconds(),
    },
  };
}
