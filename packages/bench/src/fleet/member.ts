import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** What members of a fleet are told when they start. */
export interface MemberOptions {
  readonly postgresUrl: string;
  readonly redisUrl: string;
  readonly queueUrl: string;
  /** Calls in a second: what an application makes. */
  readonly perSecond: number;
  readonly products: number;
}

/** What a member has used and done so far. */
export interface Usage {
  /** Of the whole process, in bytes. */
  readonly rss: number;
  /** Of the heap, in bytes, after a collection. */
  readonly heap: number;
  /** Of its processor time, in µs. */
  readonly processorUs: number;
  readonly calls: number;
  readonly failures: number;
}

/** The file of a member, beside this one. */
export type Role = 'application' | 'worker';

/** An application or a worker in a process of its own, which answers what it has used so far. */
export class Member {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async start(role: Role, options: MemberOptions): Promise<Member> {
    // Built files: a test runs this one from the sources, where Node would find no other.
    const file = fileURLToPath(new URL(`../../dist/fleet/${role}.js`, import.meta.url));
    const child = fork(file, [JSON.stringify(options)], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    await answerOf(child);
    return new Member(child);
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  async usage(): Promise<Usage> {
    const answered = answerOf(this.#child);
    this.#child.send('usage');
    return (await answered) as Usage;
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.disconnect();
    await ended;
  }
}

async function answerOf(child: ChildProcess): Promise<unknown> {
  const over = new AbortController();
  try {
    const ended = once(child, 'exit', over).then(([code]) => {
      throw new Error(`a member of the fleet ended with ${String(code)}`);
    });
    return await Promise.race([once(child, 'message', over).then(([answer]) => answer as unknown), ended]);
  } finally {
    over.abort();
  }
}

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** The member's own side: starts what it is for, then answers until its parent lets go of it. */
export async function serve(
  start: (options: MemberOptions) => Promise<{
    readonly counts: () => Pick<Usage, 'calls' | 'failures'>;
    close(): Promise<void>;
  }>,
): Promise<void> {
  const { close, counts } = await start(JSON.parse(process.argv[2] ?? '{}') as MemberOptions);
  process.on('message', () => {
    collect();
    const { heapUsed: heap, rss } = process.memoryUsage();
    const { system, user } = process.cpuUsage();
    process.send?.({ rss, heap, processorUs: user + system, ...counts() } satisfies Usage);
  });
  process.once('disconnect', () => void close().finally(() => process.exit()));
  process.send?.('started');
}
