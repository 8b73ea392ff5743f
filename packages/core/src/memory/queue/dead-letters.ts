import type { DeadLetter, DeadLetters, QueueJob } from '../../contracts/queue.js';
import { option, optionValue } from '../../kit/options.js';

const OFFSET = option.integer(0, 0, Number.MAX_SAFE_INTEGER);
const LIMIT = option.integer(100, 0, Number.MAX_SAFE_INTEGER);

/** Always holds a job, since no other program writes here. */
interface Letter extends DeadLetter {
  readonly job: QueueJob;
}

/** Keeps the newest `max` dead letters; `replay` hands jobs back. */
export class DeadLetterBox implements DeadLetters {
  readonly #max: number;
  readonly #replay: (jobs: readonly QueueJob[]) => Promise<void>;
  readonly #letters = new Map<string, Letter>();
  #lastId = 0;

  constructor(max: number, replay: (jobs: readonly QueueJob[]) => Promise<void>) {
    this.#max = max;
    this.#replay = replay;
  }

  get size(): number {
    return this.#letters.size;
  }

  add(letter: Omit<Letter, 'id'>): void {
    this.#lastId += 1;
    const id = String(this.#lastId);
    this.#letters.set(id, { id, ...letter });
    const [oldest = id] = this.#letters.keys();
    if (this.size > this.#max) this.#letters.delete(oldest);
  }

  async list(options: { readonly offset?: number; readonly limit?: number } = {}): Promise<Letter[]> {
    const offset = optionValue(options.offset, OFFSET, 'deadLetters.offset');
    const limit = optionValue(options.limit, LIMIT, 'deadLetters.limit');
    return [...this.#letters.values()].reverse().slice(offset, offset + limit);
  }

  async replay(ids?: readonly string[]): Promise<number> {
    const picked = this.#pick(ids);
    await this.#replay(picked.map(({ job }) => job));
    return this.#remove(picked);
  }

  async discard(ids?: readonly string[]): Promise<number> {
    return this.#remove(this.#pick(ids));
  }

  #pick(ids: readonly string[] = [...this.#letters.keys()]): Letter[] {
    return [...new Set(ids)].flatMap((id) => this.#letters.get(id) ?? []);
  }

  #remove(picked: readonly Letter[]): number {
    for (const { id } of picked) this.#letters.delete(id);
    return picked.length;
  }
}
