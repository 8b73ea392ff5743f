import { StoreRefusedError, type WriteResult } from '@lockstep/core';
import { nowUs } from '../../clock.js';
import { type Random, randomChoice } from '../../random.js';
import type { WriteKind } from '../history.js';
import type { Party } from '../party.js';
import { COOL, COUNTERS, type CrashRow, FOREIGN_ONLY, HOT, seedRow, seedToken } from '../rows.js';
import { tell } from './journal.js';

const HOT_SHARE = 0.75;
/** How long the load keeps to a mix, in ms. */
const PHASE_MS = 250;

/** Shares of each kind, as sums; what is left are reads. */
const MIXES = [
  { put: 0.6, delete: 0.65, update: 0.68, increment: 0.71, counter: 0.73 },
  { put: 0.15, delete: 0.25, update: 0.4, increment: 0.5, counter: 0.55 },
  { put: 0.3, delete: 0.34, update: 0.37, increment: 0.4, counter: 0.42 },
] as const;

/** One operation after the other, each told to the parent before it begins and after it is over. */
export class Load {
  readonly #party: Party;
  readonly #name: string;
  readonly #random: Random;
  /** Keys whose last read could not ask the cache. */
  readonly #unanswered = new Map<string, number>();
  #number = 0;
  #mix: (typeof MIXES)[number] = MIXES[0];
  #mixUntilUs = 0;

  constructor(party: Party, name: string, random: Random) {
    this.#party = party;
    this.#name = name;
    this.#random = random;
    party.lockstep.events.on('miss', ({ key, reason }) => {
      if (reason === 'unavailable') this.#unanswered.set(key, nowUs());
    });
  }

  async step(): Promise<void> {
    const now = nowUs();
    if (now > this.#mixUntilUs) {
      this.#mix = randomChoice(this.#random, MIXES);
      this.#mixUntilUs = now + PHASE_MS * 1_000;
    }
    const mix = this.#mix;
    const key = randomChoice(this.#random, this.#random() < HOT_SHARE ? HOT : COOL);
    const dice = this.#random();
    if (dice < mix.put) await this.#put(key);
    else if (dice < mix.delete) await this.#write('delete', key, '', () => this.#party.rows.delete(key));
    else if (dice < mix.update) await this.#update(key);
    else if (dice < mix.increment) await this.#increment(key);
    else if (dice < mix.counter) await this.#count();
    else await this.#read(this.#random() < 0.05 ? randomChoice(this.#random, FOREIGN_ONLY) : key);
  }

  async #put(key: string): Promise<void> {
    const row = { ...seedRow(key), token: this.#token() };
    await this.#write('put', key, row.token, () => this.#party.rows.put(key, row));
  }

  async #update(key: string): Promise<void> {
    const token = this.#token();
    let after = '';
    const change = (current: CrashRow | undefined): CrashRow => {
      after = current?.token ?? '';
      return { ...seedRow(key), token, after };
    };
    await this.#write(
      'update',
      key,
      token,
      () => this.#party.rows.update(key, change),
      () => after,
    );
  }

  async #increment(key: string): Promise<void> {
    await this.#write('increment', key, '', () => this.#party.rows.increment(key, 'counter', 1));
  }

  /** On a key that nobody puts: both ways of adding. */
  async #count(): Promise<void> {
    const key = randomChoice(this.#random, COUNTERS);
    if (this.#random() < 0.7) {
      await this.#increment(key);
      return;
    }
    const add = (current = seedRow(key)): CrashRow => ({
      ...current,
      token: seedToken(key),
      counter: current.counter + 1,
    });
    await this.#write('increment', key, '', () => this.#party.rows.update(key, add));
  }

  async #write(
    kind: WriteKind,
    key: string,
    token: string,
    call: () => Promise<WriteResult<CrashRow>>,
    after: () => string = () => '',
  ): Promise<void> {
    const number = this.#number++;
    tell({ type: 'begin', number, kind, key, token, startUs: nowUs() });
    try {
      const { cache, coalesced, store, value, version } = await call();
      const seen = value?.token ?? null;
      const ack = { endUs: nowUs(), version, store, cache, seen, coalesced, after: after() };
      tell({ type: 'end', number, ack });
    } catch (error) {
      // The store said no, since there was no row. Of anything else it is not known what became of it.
      if (error instanceof StoreRefusedError) tell({ type: 'nothing', number });
    }
  }

  async #read(key: string): Promise<void> {
    const startUs = nowUs();
    const found = await this.#party.rows.getVersioned(key).catch(() => undefined);
    if (found === undefined) return;
    const endUs = nowUs();
    const fallback = (this.#unanswered.get(key) ?? -1) >= startUs;
    const seen = found.value?.token ?? null;
    tell({ type: 'read', key, startUs, endUs, version: found.version, seen, fallback });
  }

  #token(): string {
    return `${this.#name}:${this.#number}`;
  }
}
