import type { WriteResult } from '@lockstep/core';
import { nowUs } from '../../clock.js';
import { type Random, randomChoice } from '../../random.js';
import type { ViewsParty } from '../party.js';
import type { ViewsLine } from '../recorder.js';
import { CATEGORIES, KEYS, LISTS, QUERIES, SHELVES, type ViewRow } from '../rows.js';

const WRITES = 0.12;
const MAX_TOGETHER = 3;

type Written = Pick<WriteResult<ViewRow>, 'cache' | 'value' | 'version'>;

/** One operation after the other, each told to the parent once it is over. */
export class ViewsLoad {
  readonly #party: ViewsParty;
  readonly #name: string;
  readonly #random: Random;
  readonly #tell: (line: ViewsLine) => void;
  #number = 0;

  constructor(party: ViewsParty, name: string, random: Random, tell: (line: ViewsLine) => void) {
    this.#party = party;
    this.#name = name;
    this.#random = random;
    this.#tell = tell;
  }

  async step(): Promise<void> {
    if (this.#random() < WRITES) await this.#write();
    else await this.#read();
  }

  async #read(): Promise<void> {
    const query = randomChoice(this.#random, this.#random() < 0.7 ? LISTS : QUERIES);
    const startUs = nowUs();
    const shown = await this.#party.read(query).catch(() => undefined);
    if (shown !== undefined) this.#tell({ type: 'read', query, startUs, endUs: nowUs(), shown });
  }

  /** The outcome of a write that fails is unknown: the database's own record has it. */
  async #write(): Promise<void> {
    const { rows } = this.#party;
    const key = randomChoice(this.#random, KEYS);
    const { _id, ...set } = this.#row(key);
    const dice = this.#random();
    const one = async (call: string, result: Promise<WriteResult<ViewRow>>): Promise<void> =>
      this.#promised(call, [key], [await result]);
    try {
      if (dice < 0.3) await one('put', rows.put(key, { _id, ...set }));
      else if (dice < 0.5) await one('patch', rows.patch(key, set));
      else if (dice < 0.6) await one('patch of no tag', rows.patch(key, { ref: set.ref, token: set.token }));
      else if (dice < 0.7) await one('delete', rows.delete(key));
      else if (dice < 0.85) await this.#update(key, set);
      else if (dice < 0.92) {
        const keys = this.#some();
        this.#promised(
          'putMany',
          keys,
          await rows.putMany(keys.map((each) => [each, this.#row(each)] as const)),
        );
      } else await this.#transaction();
    } catch {
      // It was refused, or nobody knows.
    }
  }

  /** One whose own row the next update of its statement has changed again leaves no state to look for. */
  async #update(key: string, set: Omit<ViewRow, '_id'>): Promise<void> {
    const result = await this.#party.rows.update(key, (row) => ({ ...row, _id: key, ...set }));
    if (!result.coalesced) this.#promised('update', [key], [result]);
  }

  /** Several rows change places at once. */
  async #transaction(): Promise<void> {
    const { lockstep, rows } = this.#party;
    const keys = this.#some().sort();
    const { outcomes, returned } = await lockstep.transaction(
      async (tx) => {
        const written: Written[] = [];
        for (const key of keys) written.push(await rows.put(key, this.#row(key), { tx }));
        return written;
      },
      { outcomes: true },
    );
    const behind = outcomes.find(({ cache }) => cache !== 'updated' && cache !== 'invalidated');
    if (behind === undefined)
      this.#promised(
        'transaction',
        keys,
        returned.map((each) => ({ ...each, cache: 'updated' })),
      );
  }

  #promised(call: string, keys: readonly string[], written: readonly Written[]): void {
    const endUs = nowUs();
    for (const [i, { cache, value, version }] of written.entries()) {
      if (cache !== 'updated' && cache !== 'invalidated') continue;
      if (value === null && version === 0) continue;
      const key = keys[i] as string;
      this.#tell({ type: 'promised', call, key, token: value?.token ?? null, version, endUs });
    }
  }

  #some(): string[] {
    const keys = Array.from({ length: MAX_TOGETHER }, () => randomChoice(this.#random, KEYS));
    return [...new Set(keys)];
  }

  #row(_id: string): ViewRow {
    return {
      _id,
      category: randomChoice(this.#random, CATEGORIES),
      shelf: randomChoice(this.#random, SHELVES),
      ref: randomChoice(this.#random, KEYS),
      token: `${this.#name}:${++this.#number}`,
    };
  }
}
