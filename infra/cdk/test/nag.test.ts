import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { App, Stack, Validations } from 'aws-cdk-lib';
import { AwsSolutionsChecks, ServerlessChecks } from 'cdk-nag';
import { Queue } from 'aws-cdk-lib/aws-sqs';
import { Transship, TransshipCode, type TransshipConfiguration } from '../lib';
import { ACCOUNT, CODE, REGION } from './support';

interface Violation {
  ruleName: string;
  acknowledgedId?: string;
  reason?: string;
}

interface Report {
  pluginReports: { pluginName: string; violations: Violation[]; suppressedViolations?: Violation[] }[];
}

const PLUGINS = ['AwsSolutions', 'Serverless'];

/** What cdk-nag says of a stack. */
function checked(build: (stack: Stack) => void, env?: { account: string; region: string }) {
  const outdir = mkdtempSync(join(tmpdir(), 'transship-nag-'));
  const exitCode = process.exitCode;
  try {
    const app = new App({ outdir, analyticsReporting: false });
    build(new Stack(app, 'transship', { env }));
    Validations.of(app).addPlugins(new AwsSolutionsChecks(app), new ServerlessChecks(app));
    try {
      app.synth();
    } catch (error) {
      if ((error as Error).name !== 'ValidationFailed') throw error;
    }
    const report = JSON.parse(readFileSync(join(outdir, 'validation-report.json'), 'utf8')) as Report;
    const reports = report.pluginReports.filter(({ pluginName }) => PLUGINS.includes(pluginName));
    assert.equal(reports.length, PLUGINS.length);
    return {
      violations: reports.flatMap(({ violations }) => violations.map(({ ruleName }) => ruleName)),
      exceptions: reports.flatMap(({ suppressedViolations }) => suppressedViolations ?? []),
    };
  } finally {
    // A violation makes the process fail; here it is what is asked for.
    process.exitCode = exitCode;
    rmSync(outdir, { recursive: true });
  }
}

const cases = JSON.parse(readFileSync(join(__dirname, 'compare/cases.json'), 'utf8')) as {
  name: string;
  configuration: TransshipConfiguration;
}[];

for (const { name, configuration } of cases) {
  for (const env of [undefined, { account: ACCOUNT, region: REGION }]) {
    test(`cdk-nag has nothing to say of ${name}, ${env ? 'in an account' : 'anywhere'}, but for what is explained`, () => {
      const { violations, exceptions } = checked((stack) => {
        const made = new Transship(stack, 'Transship', {
          ...configuration,
          code: TransshipCode.fromBuild(CODE),
          schedule: 'rate(1 day)',
        });
        made.allowPull('arn:aws:ecr:us-east-1:111122223333:repository/more/*');
        made.allowListing('arn:aws:ecr:us-east-1:111122223333:repository/*');
      }, env);
      assert.deepEqual(violations, []);
      assert(exceptions.length > 5);
      assert.deepEqual(exceptions.filter(({ reason }) => !reason || reason.length < 20), []);
      // Each wildcard has a reason of its own: the whole rule is not switched off.
      assert(exceptions.every(({ acknowledgedId }) => !acknowledgedId?.endsWith('IAM5')));
    });
  }
}

test('a queue without TLS would be seen', () => {
  const { violations } = checked((stack) => new Queue(stack, 'Queue'));
  assert(violations.includes('AwsSolutions-SQS4'), violations.join());
});
