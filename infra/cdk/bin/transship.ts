// Deploys a configuration that is a file: `make deploy-cdk CONFIG=transship.json`.
//
// Context (`-c KEY=VALUE`): config, the file; code, the folder of the binaries; name, the stack's; schedule, when to look
// for what is missing; alarm-topic, the ARN of an SNS topic; architecture, arm64 or x86_64; memory, MB.

import { App, Stack, Validations } from 'aws-cdk-lib';
import { Architecture } from 'aws-cdk-lib/aws-lambda';
import { Topic } from 'aws-cdk-lib/aws-sns';
import { AwsSolutionsChecks, ServerlessChecks } from 'cdk-nag';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { addOutputs, checkConfiguration, Transship, TransshipCode, type TransshipConfiguration } from '../lib';

const app = new App();
const setting = (key: string): string | undefined => app.node.tryGetContext(key) || undefined;

const stack = new Stack(app, setting('name') ?? 'transship', {
  description: 'Transship, which replicates container images from Amazon ECR to other registries.',
  // What the CLI knows of the account; without it, as in a pipeline, the stack fits any.
  env: { account: process.env['CDK_DEFAULT_ACCOUNT'], region: process.env['CDK_DEFAULT_REGION'] },
});
const file = setting('config') ?? join(__dirname, '../../example.json');
const configuration = JSON.parse(readFileSync(file, 'utf8')) as TransshipConfiguration;
// The construct takes what it knows of its props; a file is to have nothing else.
checkConfiguration(configuration);
const topic = setting('alarm-topic');
const memory = setting('memory');

const transship = new Transship(stack, 'Transship', {
  ...configuration,
  code: TransshipCode.fromBuild(setting('code') ?? join(__dirname, '../../../target/lambda')),
  architecture: setting('architecture') === 'x86_64' ? Architecture.X86_64 : Architecture.ARM_64,
  memorySize: memory ? Number(memory) : undefined,
  schedule: setting('schedule'),
  alarms: { topic: topic ? Topic.fromTopicArn(stack, 'AlarmTopic', topic) : undefined },
});
addOutputs(transship);
Validations.of(app).addPlugins(new AwsSolutionsChecks(app), new ServerlessChecks(app));
