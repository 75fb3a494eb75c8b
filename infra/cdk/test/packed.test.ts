import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { App, Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { CODE } from './support';

const ROOT = join(__dirname, '..');

test('the library as it is packed works from JavaScript, and has its types', () => {
  const { main, types } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { main: string; types: string };
  // Inside the project, where its dependencies are found.
  const folder = mkdtempSync(join(ROOT, 'dist-'));
  try {
    execFileSync(join(ROOT, 'node_modules/.bin/tsc'), ['-p', 'tsconfig.build.json', '--outDir', folder], { cwd: ROOT });
    const inFolder = (path: string) => join(folder, path.replace(/^dist\//, ''));
    assert(existsSync(inFolder(types)));
    const { Transship, TransshipCode } = require(inFolder(main)) as typeof import('../lib');
    const stack = new Stack(new App({ analyticsReporting: false }), 'transship');
    new Transship(stack, 'Transship', {
      code: TransshipCode.fromBuild(CODE),
      rules: [{ source: { repository: 'team/**' }, destinations: ['ghcr.io/acme/{name}'] }],
    });
    Template.fromStack(stack).resourceCountIs('AWS::Lambda::Function', 2);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
