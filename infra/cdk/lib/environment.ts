// Where the configuration goes: into the functions' environment, or into a parameter of Systems Manager.

import { createHash } from 'node:crypto';
import { Stack } from 'aws-cdk-lib';
import { ParameterTier, StringParameter } from 'aws-cdk-lib/aws-ssm';
import type { Construct } from 'constructs';
import { ConfigurationError } from './check';
import type { TransshipConfiguration } from './generated/configuration';

/** Bytes that all variables of a function may have (Lambda quotas). */
const ENVIRONMENT = 4096;

/** Kept of that for the addresses of the queues, which are known at deployment only, and for what isn't counted. */
const RESERVE = 596;

/** Bytes of a parameter (Systems Manager quotas), standard and advanced. */
const STANDARD = 4096;
const ADVANCED = 8192;

/** Bytes that a value takes which is known at deployment only, such as an ARN. */
const TOKEN = 160;

/** The configuration as the functions are given it. */
export interface Placed {
  /** The value of `TRANSSHIP_CONFIG`. */
  readonly value: string;
  /** The parameter, where there is one. */
  readonly parameter?: StringParameter;
}

/**
 * Puts a configuration where it fits.
 *
 * @throws ConfigurationError where it fits nowhere.
 */
export function place(
  scope: Construct,
  configuration: TransshipConfiguration,
  name: string,
  variables: Record<string, string>,
): Placed {
  const stack = Stack.of(scope);
  const text = stack.toJsonString(configuration);
  const others = Object.entries(variables).reduce((sum, [key, value]) => sum + key.length + size(stack, value), 0);
  const bytes = size(stack, text);
  if (bytes + others <= ENVIRONMENT - RESERVE) return { value: text };

  if (bytes > ADVANCED) {
    throw new ConfigurationError([
      `.: has ${bytes} bytes, and a parameter of Systems Manager takes ${ADVANCED}; share the rules out between ` +
        'two constructs, or use a glob where there are many alike',
    ]);
  }
  if (pieces(stack, text).some((piece) => typeof piece === 'string' && piece.includes('{{'))) {
    throw new ConfigurationError(['.: has `{{` in it, which Systems Manager takes for a reference']);
  }
  // Each configuration has a parameter of its own, so that a new one is a deployment, and is rolled back as one: running
  // functions would never read a parameter again.
  const revision = createHash('sha256').update(JSON.stringify(stack.resolve(text))).digest('hex').slice(0, 12);
  const parameter = new StringParameter(scope, 'Configuration', {
    parameterName: `/transship/${name}/configuration-${revision}`,
    simpleName: false,
    description: 'The configuration of both functions of Transship.',
    stringValue: text,
    tier: bytes > STANDARD ? ParameterTier.ADVANCED : ParameterTier.STANDARD,
  });
  return { value: `ssm:${parameter.parameterName}`, parameter };
}

/** What of a text is known now: a token is resolved to pieces, some of which CloudFormation fills in. */
function pieces(stack: Stack, text: string): unknown[] {
  const resolved: unknown = stack.resolve(text);
  if (typeof resolved === 'string') return [resolved];
  const join = (resolved as { 'Fn::Join'?: [string, unknown[]] })['Fn::Join'];
  return join ? join[1] : [resolved];
}

/** Bytes of a text, at most. */
function size(stack: Stack, text: string): number {
  const bytes = pieces(stack, text).map((piece) => (typeof piece === 'string' ? Buffer.byteLength(piece) : TOKEN));
  return bytes.reduce((sum, part) => sum + part, 0);
}
