// Prints the CDK's stacks of all cases, as JSON: each with its template, and the names that SAM's template has for its
// resources. test_same_resources.py reads it.

import { App, Duration, Stack } from 'aws-cdk-lib';
import { SecurityGroup, Subnet, Vpc } from 'aws-cdk-lib/aws-ec2';
import { Key } from 'aws-cdk-lib/aws-kms';
import { ApplicationLogLevel, Architecture } from 'aws-cdk-lib/aws-lambda';
import { Topic } from 'aws-cdk-lib/aws-sns';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { addOutputs, Transship, TransshipCode, type TransshipConfiguration } from '../../lib';
import { described } from './described';

/** The deployment of a case, in plain values. */
interface Deployment {
  architecture?: string;
  memorySize?: number;
  maxConcurrency?: number;
  maxReceives?: number;
  onPushConcurrency?: number;
  schedule?: string;
  sweep?: Record<string, unknown>;
  events?: Record<string, boolean>;
  logLevel?: keyof typeof ApplicationLogLevel;
  logRetention?: number;
  topic?: string;
  queueAgeSeconds?: number;
  failures?: number;
  lagMilliseconds?: number;
  throttling?: number;
  secretKey?: string;
  queueKey?: string;
  subnets?: string[];
  securityGroup?: string;
}

interface Case {
  name: string;
  configuration: TransshipConfiguration;
  cdk: Deployment;
}

function synthesised({ configuration, cdk }: Case) {
  const stack = new Stack(new App({ analyticsReporting: false }), 'transship', {
    env: { account: '111122223333', region: 'us-east-1' },
  });
  const key = (id: string, arn?: string) => (arn ? Key.fromKeyArn(stack, id, arn) : undefined);
  const secretKey = key('SecretKey', cdk.secretKey);
  const subnets = cdk.subnets?.map((id) => Subnet.fromSubnetAttributes(stack, id, { subnetId: id, availabilityZone: id }));
  const vpc = subnets && Vpc.fromVpcAttributes(stack, 'Vpc', { vpcId: 'vpc-0', availabilityZones: ['us-east-1a'] });
  const transship = new Transship(stack, 'Transship', {
    ...configuration,
    code: TransshipCode.fromBuild(join(__dirname, '../lambda')),
    architecture: cdk.architecture ? Architecture.custom(cdk.architecture) : undefined,
    memorySize: cdk.memorySize,
    maxConcurrency: cdk.maxConcurrency,
    maxReceives: cdk.maxReceives,
    onPushConcurrency: cdk.onPushConcurrency,
    schedule: cdk.schedule,
    sweep: cdk.sweep,
    events: cdk.events,
    logLevel: cdk.logLevel && ApplicationLogLevel[cdk.logLevel],
    logRetention: cdk.logRetention,
    alarms: {
      topic: cdk.topic ? Topic.fromTopicArn(stack, 'Topic', cdk.topic) : undefined,
      queueAge: cdk.queueAgeSeconds ? Duration.seconds(cdk.queueAgeSeconds) : undefined,
      failures: cdk.failures,
      lag: cdk.lagMilliseconds ? Duration.millis(cdk.lagMilliseconds) : undefined,
      throttling: cdk.throttling,
    },
    queueKey: key('QueueKey', cdk.queueKey),
    secretKeys: secretKey && [secretKey],
    vpc,
    vpcSubnets: subnets && { subnets },
    securityGroups: cdk.securityGroup
      ? [SecurityGroup.fromSecurityGroupId(stack, 'SecurityGroup', cdk.securityGroup, { mutable: false })]
      : undefined,
  });
  addOutputs(transship);
  return described(transship);
}

const cases = JSON.parse(readFileSync(join(__dirname, 'cases.json'), 'utf8')) as Case[];
console.log(JSON.stringify(Object.fromEntries(cases.map((one) => [one.name, synthesised(one)]))));
