// From the globs and templates of a configuration to the patterns of IAM.
//
// IAM knows `*` (any characters, slashes too) and `?` (one character). A glob's `*` ends at a slash, so the pattern is
// wider than the glob wherever one stands: `team/*` as an ARN takes `team/a/b` too. IAM has nothing narrower.

/** Repositories of one shape. */
export interface RepositoryPattern {
  /** The whole name, as a pattern of IAM. */
  readonly repository: string;
  /** Its last path component. */
  readonly name: string;
}

/** The patterns that take all repositories that a glob takes; left out: any repository. */
export function repositoryPatterns(glob: string | null | undefined): RepositoryPattern[] {
  const found = new Map<string, RepositoryPattern>();
  for (const alternative of alternatives(glob ?? '**')) {
    for (const components of depths(split(alternative))) {
      const parts = components.map(component);
      const repository = parts.join('/');
      found.set(repository, { repository, name: parts.at(-1) ?? '*' });
    }
  }
  return [...found.values()];
}

/** Whether a text is a glob rather than the name of one repository. */
export function isGlob(text: string | null | undefined): boolean {
  return text === null || text === undefined || /[*?[{\\]/.test(text);
}

/** `{a,b}` becomes two globs. */
function alternatives(glob: string): string[] {
  const open = unescaped(glob, '{', 0);
  if (open < 0) return [glob];
  const options: string[] = [];
  let depth = 0;
  let start = open + 1;
  for (let at = open; at < glob.length; at = next(glob, at)) {
    const character = glob[at];
    if (character === '{') depth += 1;
    if (character === ',' && depth === 1) {
      options.push(glob.slice(start, at));
      start = at + 1;
    }
    if (character === '}') depth -= 1;
    if (depth === 0) {
      options.push(glob.slice(start, at));
      return options.flatMap((option) => alternatives(glob.slice(0, open) + option + glob.slice(at + 1)));
    }
  }
  // Not closed: no glob; the function says so when it starts.
  return [glob];
}

/** `**` stands for components: any number, none too but at the end. */
function depths(components: string[]): string[][] {
  const at = components.slice(0, -1).indexOf('**');
  if (at < 0) return [components];
  const [before, after] = [components.slice(0, at), components.slice(at + 1)];
  return depths(after).flatMap((rest) => [
    [...before, '*', ...rest],
    [...before, ...rest],
  ]);
}

/** One component as IAM writes it. A class of characters becomes `?`, which is wider. */
function component(glob: string): string {
  let pattern = '';
  for (let at = 0; at < glob.length; at = next(glob, at)) {
    const character = glob[at]!;
    if (character === '\\') pattern += glob[at + 1] ?? '';
    else pattern += character === '[' ? '?' : character;
  }
  return pattern.replace(/\*+/g, '*');
}

/** Splits at slashes, but for those inside a class. */
function split(glob: string): string[] {
  const components: string[] = [];
  let start = 0;
  for (let at = 0; at < glob.length; at = next(glob, at)) {
    if (glob[at] === '/') {
      components.push(glob.slice(start, at));
      start = at + 1;
    }
  }
  return [...components, glob.slice(start)];
}

function unescaped(glob: string, wanted: string, from: number): number {
  for (let at = from; at < glob.length; at = next(glob, at)) {
    if (glob[at] === wanted) return at;
  }
  return -1;
}

/** Where the next character begins: an escaped one and a class count as one. */
function next(glob: string, at: number): number {
  if (glob[at] === '\\') return at + 2;
  if (glob[at] !== '[') return at + 1;
  // A `]` that comes first, after `!` or `^` too, is a member.
  const first = /^\[[!^]?\]?/.exec(glob.slice(at))![0].length;
  const close = glob.indexOf(']', at + first);
  return close < 0 ? at + 1 : close + 1;
}

/** A destination: `HOST/REPOSITORY[:TAG]` with places to fill in. */
export interface DestinationPattern {
  readonly host: string;
  /** The repository, as a pattern of IAM. */
  readonly repository: string;
}

/** Where a template leads the images of one source; `undefined`: it is no template. */
export function destinationPattern(
  template: string,
  sourceHost: string,
  source: RepositoryPattern,
): DestinationPattern | undefined {
  const slash = template.indexOf('/');
  if (slash <= 0) return undefined;
  const host = template.slice(0, slash);
  const path = template.slice(slash + 1);
  const target = path.slice(path.lastIndexOf('/') + 1).search(/[:@]/);
  const repository = target < 0 ? path : path.slice(0, path.lastIndexOf('/') + 1 + target);
  const places: Record<string, string> = {
    registry: sourceHost,
    repository: source.repository,
    name: source.name,
    tag: '*',
    digest: '*',
  };
  let known = true;
  const fill = (text: string) =>
    text.replace(/\{([^}]*)\}/g, (_, place: string) => {
      known &&= place in places;
      return places[place] ?? '';
    });
  const filled = { host: fill(host), repository: fill(repository) };
  return known && filled.repository !== '' ? filled : undefined;
}
