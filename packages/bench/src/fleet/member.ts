import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { answerOf, letGo } from '../children.js';
import { collectedHeap } from '../heap.js';

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
    await letGo(this.#child);
  }
}

/** The member's own side: starts what it is for, then answers until its parent lets go of it. */
export async function serve(
  start: (options: MemberOptions) => Promise<{
    readonly counts: () => Pick<Usage, 'calls' | 'failures'>;
    close(): Promise<void>;
  }>,
): Promise<void> {
  const { close, counts } = await start(JSON.parse(process.argv[2] ?? '{}') as MemberOptions);
  process.on('message', () => {
    const heap = collectedHeap();
    const { rss } = process.memoryUsage();
    const { system, user } = process.cpuUsage();
    process.send?.({ rss, heap, processorUs: user + system, ...counts() } satisfies Usage);
  });
  process.once('disconnect', () => void close().finally(() => process.exit()));
  process.send?.('started');
}
