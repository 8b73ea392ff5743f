import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto';
import type { IntegrityKey, IntegrityOptions } from '../contracts/integrity.js';
import type { QueueJob } from '../contracts/queue.js';
import { InvalidOptionError } from '../errors.js';
import { type OptionsOf, option, type Settings, withDefaults } from '../kit/options.js';

const MAX_KEYS = 8;
const MIN_SECRET_BYTES = 32;
const MAX_SECRET_BYTES = 1_024;
const ID = /^[A-Za-z0-9_-]{1,32}$/;
/** `id.mac`, the mac being 32 bytes in base64url. */
const MAC = /^([A-Za-z0-9_-]{1,32})\.([A-Za-z0-9_-]{43})$/;

const KEY = {
  id: option.required(
    option.is<string>('1 to 32 letters, digits, _ and -', (id) => typeof id === 'string' && ID.test(id)),
  ),
  secret: option.required(
    option.is<IntegrityKey['secret']>(
      `text or bytes, of ${MIN_SECRET_BYTES} to ${MAX_SECRET_BYTES} bytes`,
      (secret) => {
        if (typeof secret !== 'string' && !(secret instanceof Uint8Array)) return false;
        const { byteLength } = bytesOf(secret);
        return byteLength >= MIN_SECRET_BYTES && byteLength <= MAX_SECRET_BYTES;
      },
    ),
  ),
} satisfies OptionsOf<IntegrityKey>;

export const INTEGRITY = {
  keys: option.required(
    option.is<readonly IntegrityKey[]>(
      `1 to ${MAX_KEYS} of { id, secret }`,
      (keys) => Array.isArray(keys) && keys.length > 0 && keys.length <= MAX_KEYS,
    ),
  ),
  acceptUnsigned: option.flag(false),
} satisfies OptionsOf<IntegrityOptions>;

/** Proves that what comes out of the cache and the queue was made by a Lockstep that holds one of the keys. */
export class Integrity {
  /** True: a payload without a mac is believed, while not all processes write macs yet. */
  readonly acceptsUnsigned: boolean;
  readonly #prefix: string;
  readonly #keys = new Map<string, KeyObject>();
  readonly #first: { readonly id: string; readonly key: KeyObject };

  /** Throws `InvalidOptionError`. */
  constructor({ acceptUnsigned, keys }: Settings<typeof INTEGRITY>, prefix: string) {
    for (const [i, key] of keys.entries()) this.#add(key, `createLockstep.integrity.keys[${i}]`);
    this.acceptsUnsigned = acceptUnsigned;
    this.#prefix = prefix;
    const [[id, key]] = this.#keys as unknown as [[string, KeyObject]];
    this.#first = { id, key };
  }

  #add(key: IntegrityKey, where: string): void {
    const { id, secret } = withDefaults(key, KEY, where);
    if (this.#keys.has(id)) throw new InvalidOptionError(`${where}.id`, 'must be no other key’s');
    this.#keys.set(id, createSecretKey(bytesOf(secret)));
  }

  /** The mac of two texts (or bytes) that are kept apart. */
  mac(head: string, body: string | Uint8Array): string {
    const { id, key } = this.#first;
    return `${id}.${digest(key, head, body).toString('base64url')}`;
  }

  verify(mac: string, head: string, body: string | Uint8Array): boolean {
    const [, id = '', text = ''] = MAC.exec(mac) ?? [];
    const key = this.#keys.get(id);
    if (key === undefined) return false;
    const found = Buffer.from(text, 'base64url');
    const right = digest(key, head, body);
    return found.length === right.length && timingSafeEqual(found, right);
  }

  signed<Job extends QueueJob>(job: Job): Job {
    return { ...job, mac: this.mac('job', this.#textOf(job)) };
  }

  /** True for a job that one of the keys has signed, as it is. */
  accepts(job: QueueJob): boolean {
    if (job.mac === undefined) return this.acceptsUnsigned;
    return this.verify(job.mac, 'job', this.#textOf(job));
  }

  #textOf(job: QueueJob): string {
    if (job.kind === 'invalidate') return JSON.stringify([job.kind, job.key, job.version]);
    const { collection, key, kind, refused } = job;
    const write = refused === undefined ? null : [refused.version, refused.encoding, refused.payload];
    return JSON.stringify([kind, this.#prefix, collection, key, write]);
  }
}

function bytesOf(secret: IntegrityKey['secret']): Uint8Array {
  return typeof secret === 'string' ? Buffer.from(secret) : secret;
}

function digest(key: KeyObject, head: string, body: string | Uint8Array): Buffer {
  return createHmac('sha256', key)
    .update(`lockstep1 ${Buffer.byteLength(head)} ${head} `)
    .update(body)
    .digest();
}
