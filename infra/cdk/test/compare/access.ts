// Prints what each configuration on standard input needs of AWS, as JSON, in the words of SAM's parameters.
// test_same_rights.py reads it.

import { readFileSync } from 'node:fs';
import { accessFor, eventsFor, receivesFor } from '../../lib/access';
import { check } from '../../lib/check';
import { hostOf, partitionOf } from '../../lib/registries';

interface Asked {
  document: object;
  account: string;
  region: string;
}

function answered({ document, account, region }: Asked): object | string {
  try {
    check(document);
    const home = { account, region, partition: partitionOf(region), registry: hostOf(account, region) };
    const access = accessFor(document, home);
    const events = eventsFor(document);
    return {
      SourceRepositoryArns: [...access.read],
      ListedRegistryArns: [...access.list],
      ScannedRepositoryArns: [...access.scans],
      DeletedRepositoryArns: [...access.remove],
      DeletedPublicRepositoryArns: [...access.publicRemove],
      DestinationRepositoryArns: [...access.write],
      CreatedRepositoryArns: [...access.create],
      RepositoryPolicyArns: [...access.lifecyclePolicy, ...access.repositoryPolicy],
      RepositoryKeyArns: [...access.repositoryKeys],
      PublicRegistry: access.publicLogin ? ['true'] : [],
      PublicRepositoryArns: [...access.publicWrite],
      CreatedPublicRepositoryArns: [...access.publicCreate],
      SecretArns: [...access.secrets],
      RegistryRoleArns: [...access.roles],
      // Where they are not what SAM's template has by itself.
      DeleteEvents: events.deletes ? ['true'] : [],
      ReferrerEvents: events.referrers ? [] : ['false'],
      ScanEvents: events.scans ? ['true'] : [],
      MaximumReceives: receivesFor(document) === 5 ? [] : [String(receivesFor(document))],
    };
  } catch (error) {
    return (error as Error).message;
  }
}

const asked = JSON.parse(readFileSync(0, 'utf8')) as Asked[];
console.log(JSON.stringify(asked.map(answered)));
