import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { check, ConfigurationError } from '../lib/check';
import type { TransshipConfiguration } from '../lib';
import { generated, SCHEMA } from '../scripts/generate';

test('what is generated is current: types, schema, dashboard, queries', async () => {
  for (const [path, text] of await generated()) {
    assert.equal(readFileSync(path, 'utf8'), text, `${path} is stale; \`npm run generate\` writes it anew`);
  }
});

test('every property of the schema is in the types', () => {
  const types = readFileSync(join(__dirname, '../lib/generated/configuration.ts'), 'utf8');
  const schema = JSON.parse(readFileSync(SCHEMA, 'utf8')) as Record<string, unknown>;
  const missing: string[] = [];
  let seen = 0;
  const visit = (node: unknown, inside: string): void => {
    if (typeof node !== 'object' || node === null) return;
    for (const key of Object.keys((node as { properties?: object }).properties ?? {})) {
      const declaration = types.slice(types.indexOf(`interface ${inside} {`));
      seen += 1;
      if (!new RegExp(`^  ${key}[?]?: `, 'm').test(declaration.slice(0, declaration.indexOf('\n}')))) {
        missing.push(`${inside}.${key}`);
      }
    }
  };
  visit(schema, 'TransshipConfiguration');
  for (const [name, definition] of Object.entries(schema['$defs'] as object)) visit(definition, name);
  assert.deepEqual(missing, []);
  assert(seen > 30, `${seen} properties`);
});

const mistakesOf = (document: unknown): string[] => {
  try {
    check(document as TransshipConfiguration);
    return [];
  } catch (error) {
    assert(error instanceof ConfigurationError);
    return error.mistakes;
  }
};

test('the configurations of the documentation and of the example are ones', () => {
  assert.deepEqual(mistakesOf({}), []);
  const example = readFileSync(join(__dirname, '../../example.json'), 'utf8');
  assert.deepEqual(mistakesOf(JSON.parse(example)), []);
});

test('what is `undefined` is not there', () => {
  assert.deepEqual(mistakesOf({ rules: undefined, limits: { max_attempts: undefined } }), []);
});

test('mistakes name their place and what was expected', () => {
  for (const [document, expected] of [
    [{ rule: [] }, 'rule: unknown key; expected one of limits, registries, rules'],
    [{ rules: [{ destination: [], destinations: [] }] }, /^rules\[0\]\.destination: unknown key; expected one of .*\bdestinations, /],
    [{ rules: [{}] }, 'rules[0].destinations: is missing'],
    [{ rules: {} }, 'rules: expected array; found an object'],
    [{ rules: [{ destinations: ['a', 7] }] }, 'rules[0].destinations[1]: expected string; found a number'],
    [
      { rules: [{ destinations: [], existing_tag: 'replace' }] },
      'rules[0].existing_tag: expected "overwrite", "keep", "fail"; found another text',
    ],
    [{ limits: { max_attempts: 1.5 } }, 'limits.max_attempts: expected integer, null; found a number'],
    [{ limits: { max_attempts: -1 } }, 'limits.max_attempts: must be >= 0'],
    [
      { registries: { 'ghcr.io': { provider: 'github' } } },
      'registries.ghcr.io.provider: expected "ecr", "ecr-public", "ghcr", "gar", "acr", "docker-hub", "quay", "generic", null; ' +
        'found another text',
    ],
    [
      { registries: { 'a.example.com': { create_repository: { encryption: { type: 'RSA' } } } } },
      'registries.a.example.com.create_repository.encryption.type: expected "AES256", "KMS", "KMS_DSSE"; found another text',
    ],
    [
      { registries: { 'a.example.com': { create_repository: { lifecycle_policy: 7 } } } },
      'registries.a.example.com.create_repository.lifecycle_policy: expected object, string, null; found a number',
    ],
    [{ registries: { 'a.example.com': true } }, 'registries.a.example.com: expected object; found a boolean'],
  ] as const) {
    const found = mistakesOf(document);
    assert.equal(found.length, 1, found.join('\n'));
    if (expected instanceof RegExp) assert.match(found[0]!, expected);
    else assert.equal(found[0], expected);
  }
});

test('all mistakes are said at once, and no value is repeated', () => {
  const found = mistakesOf({
    rules: [{ destinations: ['a'], existing_tag: 'hunter2' }, {}],
    registries: { 'ghcr.io': { plain_http: 'hunter2', password: 'hunter2' } },
  });
  assert.deepEqual(found.map((mistake) => mistake.split(':')[0]).toSorted(), [
    'registries.ghcr.io.password',
    'registries.ghcr.io.plain_http',
    'rules[0].existing_tag',
    'rules[1].destinations',
  ]);
  assert(!found.join().includes('hunter2'));
});
