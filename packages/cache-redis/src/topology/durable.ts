import { CacheUnavailableError } from '@lockstep/core';
import type { Redis } from 'ioredis';
import { asError } from '../bounded.js';
import { isVersion, type ScriptCall } from '../calls.js';
import { SingleTopology } from './single.js';

/**
 * One server, asked after each batch whether its append-only file is on the disk. That holds for what came
 * on the same connection before: a connection of its own, since it waits there.
 */
export class DurableTopology extends SingleTopology {
  readonly #client: Redis;
  readonly #timeoutMs: number;

  constructor(client: Redis, timeoutMs: number) {
    super(client);
    this.#client = client;
    this.#timeoutMs = timeoutMs;
  }

  override run(calls: readonly ScriptCall[]): Promise<readonly unknown[]> {
    return this.#confirmed(super.run(calls));
  }

  override rerun(calls: readonly ScriptCall[]): Promise<readonly unknown[]> {
    return this.#confirmed(super.rerun(calls));
  }

  /** A buffered write that the disk may not have is an `Error`; the other replies stand. */
  async #confirmed(sent: Promise<readonly unknown[]>): Promise<readonly unknown[]> {
    const waited = this.#client.call('waitaof', 1, 0, Math.ceil(this.#timeoutMs)).catch(asError);
    const [replies, answer] = await Promise.all([sent, waited]);
    const doubt = doubtOf(answer);
    return doubt === undefined ? replies : replies.map((reply) => (isVersion(reply) ? doubt : reply));
  }
}

/** `undefined`: it is on the disk. */
function doubtOf(answer: unknown): CacheUnavailableError | undefined {
  const start = 'Redis did not confirm a durable write';
  if (answer instanceof Error) {
    return new CacheUnavailableError(`${start} (WAITAOF): ${answer.message}`, { cause: answer });
  }
  if (Array.isArray(answer) && Number(answer[0]) >= 1) return undefined;
  return new CacheUnavailableError(`${start}: its append-only file was not on the disk in time (WAITAOF)`);
}
