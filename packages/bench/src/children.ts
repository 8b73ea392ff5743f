import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';

/** A child's next message; rejects when it ends before. */
export async function answerOf(child: ChildProcess): Promise<unknown> {
  const over = new AbortController();
  try {
    const ended = once(child, 'exit', over).then(([code]) => {
      throw new Error(`a process of the benchmark ended with ${String(code)}`);
    });
    return await Promise.race([once(child, 'message', over).then(([answer]) => answer as unknown), ended]);
  } finally {
    over.abort();
  }
}

/** Disconnects a child, which ends by that, and waits until it has. */
export async function letGo(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  if (child.connected) child.disconnect();
  await ended;
}
