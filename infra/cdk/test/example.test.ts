import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { CODE } from './support';

const ROOT = join(__dirname, '..');

/** The template that an app of ours comes to, run as `cdk synth` runs it. */
function synthesised(app: string, context: Record<string, string>): { Resources: Record<string, { Type: string; Properties: any }> } {
  const outdir = mkdtempSync(join(tmpdir(), 'transship-example-'));
  try {
    execFileSync(process.execPath, ['--import', 'tsx', app], {
      cwd: ROOT,
      env: { ...process.env, CDK_OUTDIR: outdir, CDK_CONTEXT_JSON: JSON.stringify({ code: CODE, ...context }) },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    return JSON.parse(readFileSync(join(outdir, `${context['name'] ?? 'transship'}.template.json`), 'utf8'));
  } finally {
    rmSync(outdir, { recursive: true });
  }
}

const ofType = (template: ReturnType<typeof synthesised>, type: string) =>
  Object.values(template.Resources).filter((resource) => resource.Type === type);

test('the example works: a schedule, alarms with a topic, grants to a user', () => {
  const template = synthesised('example/app.ts', {});
  assert.equal(ofType(template, 'AWS::Scheduler::Schedule').length, 1);
  assert(ofType(template, 'AWS::CloudWatch::Alarm').every(({ Properties }) => Properties.AlarmActions.length === 1));
  const [operator] = ofType(template, 'AWS::IAM::Policy').filter(({ Properties }) => Properties.Users?.includes('operator'));
  const actions = operator!.Properties.PolicyDocument.Statement.flatMap(({ Action }: { Action: string | string[] }) => Action);
  // What a runbook asks of an operator: backfill, redrive, look at dead letters, pause.
  for (const action of ['SendMessage', 'StartMessageMoveTask', 'ReceiveMessage']) assert(actions.includes(`sqs:${action}`));
  assert(actions.includes('lambda:UpdateEventSourceMapping'));
});

test('the app that is deployed takes its settings from the context', () => {
  const template = synthesised('bin/transship.ts', {
    name: 'mirror',
    architecture: 'x86_64',
    memory: '1024',
    schedule: 'rate(6 hours)',
    'alarm-topic': 'arn:aws:sns:us-east-1:111122223333:operations',
  });
  for (const { Properties } of ofType(template, 'AWS::Lambda::Function')) {
    assert.deepEqual([Properties.Architectures, Properties.MemorySize], [['x86_64'], 1024]);
  }
  assert.equal(ofType(template, 'AWS::Scheduler::Schedule')[0]!.Properties.ScheduleExpression, 'rate(6 hours)');
});

test('a configuration file with an unknown key is refused', () => {
  const config = join(__dirname, 'compare/cases.json');
  assert.throws(() => synthesised('bin/transship.ts', { config }));
});
