// Writes what lib/generated holds: the configuration's schema, the types that follow from it, the dashboard and queries.
// `npm run generate` writes it anew; a test says when it is due.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { compile } from 'json-schema-to-typescript';

/** Where the repository keeps the schema that the Rust types give. */
export const SCHEMA = join(__dirname, '../../../docs/config.schema.json');

/** Where it keeps the dashboard and the saved queries, for SAM too. */
const OPERATIONS = join(__dirname, '../../operations');

const GENERATED = join(__dirname, '../lib/generated');

const BANNER = `// Generated from docs/config.schema.json by scripts/generate.ts; \`npm run generate\` writes it anew.
`;

const BANNER_OPERATIONS = BANNER.replace('docs/config.schema.json', 'infra/operations');

/** Every generated file: its path and what it is to hold. */
export async function generated(): Promise<Map<string, string>> {
  const text = readFileSync(SCHEMA, 'utf8');
  const types = await compile(named(JSON.parse(text)), 'Configuration', {
    bannerComment: BANNER,
    style: { singleQuote: true, printWidth: 120 },
  });
  const data = (file: string) => readFileSync(join(OPERATIONS, file), 'utf8').trimEnd();
  return new Map([
    [join(GENERATED, 'configuration.ts'), types],
    // JSON inside TypeScript, so that it is compiled and packed with everything else.
    [join(GENERATED, 'schema.ts'), `${BANNER}\nexport const schema = ${text.trimEnd()} as const;\n`],
    [
      join(GENERATED, 'operations.ts'),
      `${BANNER_OPERATIONS}\nexport const dashboard = ${data('dashboard.json')};\n\n` +
        `export const queries: Record<string, string> = ${data('queries.json')};\n`,
    ],
  ]);
}

/** A `$ref` that has a description of its own would become a copy of the type; inside `allOf` it keeps its name. */
function named(schema: any): any {
  if (Array.isArray(schema)) return schema.map(named);
  if (typeof schema !== 'object' || schema === null) return schema;
  const { $ref, ...rest } = schema;
  const inner: Record<string, unknown> = Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, named(value)]));
  if ($ref === undefined) return inner;
  // A type would be guessed from the default, beside the one that is referred to.
  delete inner['default'];
  return Object.keys(inner).length === 0 ? { $ref } : { ...inner, allOf: [{ $ref }] };
}

if (require.main === module) {
  void generated().then((files) => files.forEach((text, path) => writeFileSync(path, text)));
}
