import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { Architecture, Code } from 'aws-cdk-lib/aws-lambda';

/** The functions' binaries, each as a file `bootstrap`. */
export class TransshipCode {
  private constructor(
    /** That of on-push. */
    readonly onPush: Code,
    /** That of fanout. */
    readonly fanout: Code,
    private readonly files: string[],
  ) {}

  /**
   * What `make build` made: the folders `on-push` and `fanout`, each with a file `bootstrap`, which cargo-lambda puts
   * into `target/lambda`.
   */
  static fromBuild(folder: string): TransshipCode {
    const files = ['on-push', 'fanout'].map((name) => join(folder, name, 'bootstrap'));
    const missing = files.filter((file) => !existsSync(file));
    if (missing.length > 0) {
      throw new Error(`${missing.join(' and ')}: not there; \`make build\` makes it`);
    }
    return new TransshipCode(
      Code.fromAsset(join(folder, 'on-push')),
      Code.fromAsset(join(folder, 'fanout')),
      files,
    );
  }

  /** Code that comes from elsewhere, such as archives in a bucket. */
  static fromCode(onPush: Code, fanout: Code): TransshipCode {
    return new TransshipCode(onPush, fanout, []);
  }

  /**
   * Refuses binaries of another instruction set, which Lambda would refuse at the first event only.
   *
   * @internal
   */
  _check(architecture: Architecture): void {
    for (const file of this.files) {
      const built = instructionSet(file);
      if (built !== undefined && built !== architecture.name) {
        throw new Error(`${file}: built for ${built}, but the architecture is ${architecture.name}; \`make build ARCH=…\``);
      }
    }
  }
}

/** What an ELF file was built for; `undefined` for anything else. */
function instructionSet(file: string): string | undefined {
  const head = Buffer.alloc(20);
  const descriptor = openSync(file, 'r');
  try {
    readSync(descriptor, head, 0, head.length, 0);
  } finally {
    closeSync(descriptor);
  }
  if (head.toString('latin1', 0, 4) !== '\x7fELF') return undefined;
  // Source: ELF specification, `e_machine`.
  const machines: Record<number, Architecture> = { 0x3e: Architecture.X86_64, 0xb7: Architecture.ARM_64 };
  return machines[head.readUInt16LE(18)]?.name;
}
