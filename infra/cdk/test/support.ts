// What tests share: a stack with one Transship in it, and its template.

import { App, Stack, type StackProps } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { join } from 'node:path';
import { Transship, TransshipCode, type TransshipProps } from '../lib';

export const ACCOUNT = '111122223333';
export const REGION = 'us-east-1';

/** Folders like those that `make build` makes. */
export const CODE = join(__dirname, 'lambda');

/** A Transship in a stack of its own. */
export function transship(
  props: Omit<TransshipProps, 'code'> | ((stack: Stack) => Omit<TransshipProps, 'code'>),
  env: StackProps['env'] = { account: ACCOUNT, region: REGION },
): { stack: Stack; transship: Transship; template: () => Template } {
  const stack = new Stack(new App({ analyticsReporting: false }), 'transship', { env });
  const given = typeof props === 'function' ? props(stack) : props;
  const made = new Transship(stack, 'Transship', { code: TransshipCode.fromBuild(CODE), ...given });
  return { stack, transship: made, template: () => Template.fromStack(stack) };
}

/** A statement of a policy. */
export interface Statement {
  Sid?: string;
  Effect: string;
  Principal?: unknown;
  Action: string | string[];
  Resource: unknown;
  Condition?: unknown;
}

/** All statements of the policy or role whose logical id begins so. */
export function statements(template: Template, id: string): Statement[] {
  const resources = template.toJSON()['Resources'] as Record<string, { Type: string; Properties: Record<string, unknown> }>;
  return Object.entries(resources)
    .filter(([name]) => name.startsWith(id))
    .flatMap(([, { Properties }]) => {
      const documents = [
        Properties['PolicyDocument'],
        ...((Properties['Policies'] as { PolicyDocument: unknown }[] | undefined) ?? []).map((each) => each.PolicyDocument),
      ];
      return documents.filter(Boolean).flatMap((document) => (document as { Statement: Statement[] }).Statement);
    });
}

/** The resources of the statement with this `Sid` of both functions, as texts; none: there is no such statement. */
export function resourcesOf(template: Template, sid: string, id = 'TransshipReplicationPolicy'): unknown[] {
  return statements(template, id)
    .filter((statement) => statement.Sid === sid)
    .flatMap((statement) => statement.Resource);
}
