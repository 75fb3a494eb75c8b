// Which events of ECR on-push is told of.

import { CfnPermission, type Function as LambdaFunction } from 'aws-cdk-lib/aws-lambda';
import { CfnRule } from 'aws-cdk-lib/aws-events';
import type { IQueue } from 'aws-cdk-lib/aws-sqs';
import type { Construct } from 'constructs';
import type { EventKinds } from './props';

interface Kind {
  readonly id: string;
  readonly description: string;
  readonly detailTypes: string[];
  readonly detail: Record<string, string[]>;
  readonly wanted: (kinds: EventKinds) => boolean;
}

const KINDS: Kind[] = [
  {
    id: 'PushRule',
    description: 'An image was pushed to ECR.',
    detailTypes: ['ECR Image Action'],
    detail: { 'action-type': ['PUSH'], result: ['SUCCESS'] },
    wanted: () => true,
  },
  {
    id: 'DeleteRule',
    description: 'An image was deleted from ECR.',
    detailTypes: ['ECR Image Action'],
    detail: { 'action-type': ['DELETE'], result: ['SUCCESS'] },
    wanted: (kinds) => kinds.deletes ?? false,
  },
  {
    id: 'ReferrerRule',
    description: 'A referrer was pushed to ECR.',
    // Which of the two a push raises is not documented.
    detailTypes: ['ECR Referrer Action', 'ECR Artifact Action'],
    detail: { 'action-type': ['PUSH'], result: ['SUCCESS'] },
    wanted: (kinds) => kinds.referrers ?? false,
  },
  {
    id: 'ScanRule',
    description: 'ECR has scanned an image.',
    detailTypes: ['ECR Image Scan'],
    detail: { 'scan-status': ['COMPLETE'] },
    wanted: (kinds) => kinds.scans ?? false,
  },
];

/** Sends the events of the wanted kinds to a function; what can't be handed over goes to `deadLetters`. */
export function eventRules(
  scope: Construct,
  target: LambdaFunction,
  deadLetters: IQueue,
  kinds: EventKinds,
): CfnRule[] {
  return KINDS.filter((kind) => kind.wanted(kinds)).map(({ id, description, detailTypes, detail }) => {
    const rule = new CfnRule(scope, id, {
      description,
      eventPattern: { source: ['aws.ecr'], 'detail-type': detailTypes, detail },
      targets: [
        {
          id: 'OnPush',
          arn: target.functionArn,
          retryPolicy: { maximumRetryAttempts: 185, maximumEventAgeInSeconds: 86400 },
          deadLetterConfig: { arn: deadLetters.queueArn },
        },
      ],
    });
    new CfnPermission(scope, `${id}Permission`, {
      action: 'lambda:InvokeFunction',
      functionName: target.functionName,
      principal: 'events.amazonaws.com',
      sourceArn: rule.attrArn,
    });
    return rule;
  });
}
