// Whether a configuration is one: asked of the schema that the functions' own types give.

import Ajv, { type ErrorObject } from 'ajv/dist/2020';
import type { TransshipConfiguration } from './generated/configuration';
import { schema } from './generated/schema';

/** A configuration that the functions would refuse, with every mistake and where it is. */
export class ConfigurationError extends Error {
  constructor(readonly mistakes: string[]) {
    super(`the configuration can't be used:\n${mistakes.map((mistake) => `  ${mistake}`).join('\n')}`);
    this.name = 'ConfigurationError';
  }
}

/** The keys of a configuration. */
export const CONFIGURATION_KEYS = Object.keys(schema.properties) as (keyof TransshipConfiguration)[];

const validate = new Ajv({
  allErrors: true,
  verbose: true,
  // Widths of integers, which say nothing that `minimum` doesn't.
  formats: { uint32: true, uint64: true },
}).compile(schema);

/**
 * Checks a configuration.
 *
 * @throws ConfigurationError with all mistakes.
 */
export function check(configuration: TransshipConfiguration): void {
  // As the functions read it: what is `undefined` is not there.
  const document: unknown = JSON.parse(JSON.stringify(configuration));
  if (!validate(document)) {
    throw new ConfigurationError(mistakes(validate.errors ?? []));
  }
}

/** One line for each place that is wrong. Values are not repeated: a password may stand where it doesn't belong. */
function mistakes(errors: ErrorObject[]): string[] {
  const places = new Map<string, ErrorObject[]>();
  for (const error of errors) {
    places.set(error.instancePath, [...(places.get(error.instancePath) ?? []), error]);
  }
  return [...places].flatMap(([place, found]) => {
    const path = pathOf(place);
    const inside = [...places.keys()].some((other) => other.startsWith(`${place}/`));
    const wrong = found.flatMap((error) => {
      switch (error.keyword) {
        case 'additionalProperties': {
          const known = Object.keys((error.parentSchema as { properties?: object }).properties ?? {}).join(', ');
          return [`${join(path, error.params['additionalProperty'])}: unknown key; expected one of ${known}`];
        }
        case 'required':
          return [`${join(path, error.params['missingProperty'])}: is missing`];
        case 'const':
        case 'type':
        case 'anyOf':
        case 'oneOf':
          return [];
        default:
          return [`${path}: ${error.message ?? error.keyword}`];
      }
    });
    // Of alternatives, those that are left: where something inside is wrong, that says more.
    const expected = inside || wrong.length > 0 ? [] : found.flatMap(alternative);
    const list = [...new Set(expected)].join(', ');
    return list === '' ? wrong : [...wrong, `${path}: expected ${list}; found ${kindOf(found[0]!.data)}`];
  });
}

function alternative(error: ErrorObject): string[] {
  if (error.keyword === 'const') return [JSON.stringify(error.params['allowedValue'])];
  if (error.keyword !== 'type') return [];
  return [error.params['type']].flat().map(String);
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  return value instanceof Object ? 'an object' : typeof value === 'string' ? 'another text' : `a ${typeof value}`;
}

/** A JSON pointer as the functions write paths: `rules[0].destinations[1]`. */
function pathOf(pointer: string): string {
  const keys = pointer.split('/').slice(1).map((key) => key.replace(/~1/g, '/').replace(/~0/g, '~'));
  return keys.reduce(join, '') || '.';
}

function join(path: string, key: string): string {
  if (/^[0-9]+$/.test(key)) return `${path}[${key}]`;
  return path === '' || path === '.' ? key : `${path}.${key}`;
}
