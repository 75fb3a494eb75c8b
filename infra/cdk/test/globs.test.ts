import assert from 'node:assert/strict';
import { test } from 'node:test';
import { destinationPattern, isGlob, repositoryPatterns } from '../lib/globs';

const patterns = (glob?: string) => repositoryPatterns(glob).map(({ repository }) => repository);

test('a glob becomes patterns of IAM that take all it takes', () => {
  for (const [glob, expected] of [
    [undefined, ['*']],
    ['**', ['*']],
    ['team/app', ['team/app']],
    ['team/**', ['team/*']],
    ['team/*', ['team/*']],
    ['team/app-?', ['team/app-?']],
    ['team/v[0-9a/]x', ['team/v?x']],
    ['team/[]]x', ['team/?x']],
    ['team/[!]]x', ['team/?x']],
    // Zero components and more.
    ['**/app', ['*/app', 'app']],
    ['a/**/b', ['a/*/b', 'a/b']],
    ['{team,base}/*', ['team/*', 'base/*']],
    ['{team/{a,b},base}', ['team/a', 'team/b', 'base']],
    ['a{,x}b', ['ab', 'axb']],
    ['a\\{b,c\\}', ['a{b,c}']],
    ['a[{]b', ['a?b']],
    ['a{b', ['a{b']],
  ] as const) {
    assert.deepEqual(patterns(glob), expected, String(glob));
  }
});

test('a pattern that can be told from a name is one', () => {
  for (const glob of ['*', 'team/**', 'a?', '[ab]', '{a,b}', 'a\\*', undefined, null]) assert(isGlob(glob), String(glob));
  for (const name of ['team/app', 'a-b.c_d']) assert(!isGlob(name), name);
});

test('a template leads to what the rule may take', () => {
  const source = { repository: 'team/*', name: '*' };
  for (const [template, host, repository] of [
    ['ghcr.io/acme/{repository}:{tag}', 'ghcr.io', 'acme/team/*'],
    ['ghcr.io/acme/{repository}', 'ghcr.io', 'acme/team/*'],
    ['host:5000/{name}@{digest}', 'host:5000', '*'],
    ['{registry}/mirror/{name}', 'source.example.com', 'mirror/*'],
    ['host.example.com/{registry}/{name}', 'host.example.com', 'source.example.com/*'],
    ['host.example.com/by-tag/{tag}/app', 'host.example.com', 'by-tag/*/app'],
    ['host.example.com/app:latest', 'host.example.com', 'app'],
  ] as const) {
    assert.deepEqual(destinationPattern(template, 'source.example.com', source), { host, repository }, template);
  }
  for (const none of ['app', '/app', 'host.example.com/', 'host.example.com/{branch}', 'host.example.com/:tag']) {
    assert.equal(destinationPattern(none, 'source.example.com', source), undefined, none);
  }
});

test('the last component of each pattern is its name', () => {
  const names = repositoryPatterns('{team/**,base/os-*,a/**/b}').map(({ name }) => name);
  assert.deepEqual(names, ['*', 'os-*', 'b', 'b']);
});
