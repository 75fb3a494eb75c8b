// Prints the stacks for the configurations on standard input, as JSON: for each its template, and the names that SAM's
// template has for its resources. test_calls.py judges their roles.

import { App, Stack } from 'aws-cdk-lib';
import { Key } from 'aws-cdk-lib/aws-kms';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Transship, TransshipCode, type TransshipConfiguration } from '../../lib';
import { described } from './described';

interface Asked {
  document: TransshipConfiguration;
  account: string;
  region: string;
  /** What messages name beside the rules. */
  pull: string[];
  push: string[];
  list: string[];
  key: string;
}

function answered({ document, account, region, pull, push, list, key }: Asked): object | string {
  try {
    const stack = new Stack(new App({ analyticsReporting: false }), 'transship', { env: { account, region } });
    const made = new Transship(stack, 'Transship', {
      ...document,
      code: TransshipCode.fromBuild(join(__dirname, '../lambda')),
      secretKeys: [Key.fromKeyArn(stack, 'Key', key)],
      schedule: 'rate(1 day)',
    });
    if (pull.length > 0) made.allowPull(...pull);
    if (push.length > 0) made.allowPush(...push);
    if (list.length > 0) made.allowListing(...list);
    return described(made);
  } catch (error) {
    return (error as Error).message;
  }
}

const asked = JSON.parse(readFileSync(0, 'utf8')) as Asked[];
console.log(JSON.stringify(asked.map(answered)));
