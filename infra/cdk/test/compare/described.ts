import { CfnResource, Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import type { Transship } from '../../lib';

/** The template of a stack, and the names that SAM's template has for its resources. */
export function described(transship: Transship): { template: object; names: Record<string, string> } {
  const stack = Stack.of(transship);
  const resources = transship.node.findAll().filter((construct) => construct instanceof CfnResource);
  // `OnPush/Resource` is SAM's OnPush, and `Queue/Policy/Resource` its QueuePolicy.
  const names = resources.map((resource) => {
    const path = resource.node.path.split('/').slice(2).filter((part) => part !== 'Resource');
    return [stack.resolve(resource.logicalId) as string, path.join('')] as const;
  });
  return { template: Template.fromStack(stack).toJSON(), names: Object.fromEntries(names) };
}
