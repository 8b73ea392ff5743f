import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Answered, Asked, SuiteName, Used } from './suites.js';

/** One suite of one checkout, in a process of its own with servers of its own, which works only when it is asked to. */
export class Side {
  readonly scenarios: readonly string[];
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, scenarios: readonly string[]) {
    this.#child = child;
    this.scenarios = scenarios;
  }

  /** @param dist the folder of the built benchmark: its imports find the checkout's packages */
  static async start(dist: string, suite: SuiteName): Promise<Side> {
    const child = fork(join(dist, 'compare/measure.js'), [suite], {
      cwd: join(dist, '..'),
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    const { scenarios } = (await answerOf(child)) as Extract<Answered, { scenarios: unknown }>;
    return new Side(child, scenarios);
  }

  async turn(asked: Asked): Promise<Used> {
    this.#child.send(asked);
    return (await answerOf(this.#child)) as Used;
  }

  async end(): Promise<void> {
    const ended = once(this.#child, 'exit');
    this.#child.disconnect();
    await ended;
  }
}

async function answerOf(child: ChildProcess): Promise<Answered> {
  const over = new AbortController();
  try {
    const ended = once(child, 'exit', over).then(([code]) => {
      throw new Error(`a measured process ended with ${String(code)}`);
    });
    const answered = once(child, 'message', over).then(([answer]) => answer as Answered);
    return await Promise.race([answered, ended]);
  } finally {
    over.abort();
  }
}
