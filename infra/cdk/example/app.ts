// Releases of one account's ECR go to GitHub, and to the registry of another account in another region.

import { App, Stack } from 'aws-cdk-lib';
import { User } from 'aws-cdk-lib/aws-iam';
import { Topic } from 'aws-cdk-lib/aws-sns';
import { join } from 'node:path';
import { Transship, TransshipCode } from '../lib';

const app = new App();
const stack = new Stack(app, 'transship', {
  description: 'Transship, which replicates container images from Amazon ECR to other registries.',
});

const transship = new Transship(stack, 'Transship', {
  code: TransshipCode.fromBuild(app.node.tryGetContext('code') ?? join(__dirname, '../../../target/lambda')),
  rules: [
    {
      name: 'releases to GitHub and to the EU account',
      source: { registry: '111122223333.dkr.ecr.us-east-1.amazonaws.com', repository: 'team/**' },
      tags: { include: ['v*'], exclude: ['*-rc*'], semver: '>=1.2, <3' },
      destinations: [
        'ghcr.io/acme/{repository}:{tag}',
        '222233334444.dkr.ecr.eu-west-1.amazonaws.com/mirror/{repository}:{tag}',
      ],
    },
  ],
  registries: {
    'ghcr.io': { credentials: 'secretsmanager:transship/ghcr' },
    '222233334444.dkr.ecr.eu-west-1.amazonaws.com': { role_arn: 'arn:aws:iam::222233334444:role/transship-push' },
  },
  schedule: 'rate(1 day)',
  alarms: { topic: Topic.fromTopicArn(stack, 'Operations', 'arn:aws:sns:us-east-1:111122223333:operations') },
});

const operator = User.fromUserName(stack, 'Operator', 'operator');
transship.grantBackfill(operator);
transship.grantRedrive(operator);
transship.grantReadDeadLetters(operator);
transship.grantPause(operator);
