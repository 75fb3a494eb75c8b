// The dashboard and the saved queries, from infra/operations, which SAM's template has them from too.

import { Aws, Duration, Stack } from 'aws-cdk-lib';
import { CfnDashboard, type CfnAlarm } from 'aws-cdk-lib/aws-cloudwatch';
import type { IFunction } from 'aws-cdk-lib/aws-lambda';
import { CfnQueryDefinition, type ILogGroup } from 'aws-cdk-lib/aws-logs';
import type { Construct } from 'constructs';
import { dashboard, queries } from './generated/operations';
import type { Queues } from './queues';

/** What is watched. */
export interface Watched extends Queues {
  readonly name: string;
  readonly onPush: IFunction;
  readonly fanout: IFunction;
  readonly onPushLogs: ILogGroup;
  readonly fanoutLogs: ILogGroup;
  readonly timeout: Duration;
}

/** The timeout that the dashboard's lines are drawn for. */
const DRAWN_FOR = Duration.minutes(15);

/** Makes the dashboard. */
export function makeDashboard(scope: Construct, watched: Watched, alarms: CfnAlarm[]): CfnDashboard {
  const { onPush, fanout, onPushLogs, fanoutLogs } = watched;
  const places: Record<string, string> = {
    'AWS::Region': Stack.of(scope).region,
    OnPush: onPush.functionName,
    Fanout: fanout.functionName,
    OnPushLogs: onPushLogs.logGroupName,
    FanoutLogs: fanoutLogs.logGroupName,
    'Queue.QueueName': watched.queue.queueName,
    'DeadLetters.QueueName': watched.deadLetters.queueName,
    'EventDeadLetters.QueueName': watched.eventDeadLetters.queueName,
    ...Object.fromEntries(alarms.map((alarm) => [`${alarm.node.id}.Arn`, alarm.attrArn])),
  };
  const shorter = DRAWN_FOR.minus(watched.timeout).toMilliseconds();
  const body = JSON.stringify(dashboard, (key, value: unknown) => {
    if (key !== 'horizontal') return value;
    return (value as { value: number }[]).map((line) => ({ ...line, value: line.value - shorter }));
  });
  return new CfnDashboard(scope, 'Dashboard', {
    // Dashboards have one name in all regions.
    dashboardName: `${watched.name}-${Aws.REGION}`,
    dashboardBody: body.replace(/\$\{([^}]+)\}/g, (_, place: string) => {
      const value = places[place];
      if (value === undefined) throw new Error(`infra/operations/dashboard.json: nothing is called ${place}`);
      return value;
    }),
  });
}

/** Saves the queries for Logs Insights. */
export function saveQueries(scope: Construct, watched: Watched): void {
  for (const [query, queryString] of Object.entries(queries)) {
    const id = query.replace(/(^|-)([a-z])/g, (_, _dash, letter: string) => letter.toUpperCase());
    new CfnQueryDefinition(scope, `${id}Query`, {
      name: `${watched.name}/${query}`,
      logGroupNames: [watched.onPushLogs.logGroupName, watched.fanoutLogs.logGroupName],
      queryString,
    });
  }
}
