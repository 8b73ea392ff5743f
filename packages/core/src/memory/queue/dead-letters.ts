import type { DeadLetter, DeadLetters, QueueJob } from '../../contracts/queue.js';
import { option, optionValue } from '../../kit/options.js';

const OFFSET = option.integer(0, 0, Number.MAX_SAFE_INTEGER);
const LIMIT = option.integer(100, 0, Number.MAX_SAFE_INTEGER);

/** Nobody else writes here: all that is kept is a job. */
interface Letter extends DeadLetter {
  readonly job: QueueJob;
}

export interface DeadLetterBox extends DeadLetters {
  readonly size: number;
  add(letter: Omit<Letter, 'id'>): void;
}

/** Keeps the newest `max` dead letters; `replay` hands jobs back. */
export function deadLetterBox(
  max: number,
  replay: (jobs: readonly QueueJob[]) => Promise<void>,
): DeadLetterBox {
  const letters = new Map<string, Letter>();
  let lastId = 0;

  function pick(ids: readonly string[] | undefined): Letter[] {
    if (ids === undefined) return [...letters.values()];
    return [...new Set(ids)].map((id) => letters.get(id)).filter((letter) => letter !== undefined);
  }

  function remove(picked: readonly Letter[]): number {
    for (const { id } of picked) letters.delete(id);
    return picked.length;
  }

  return {
    get size() {
      return letters.size;
    },
    add(letter) {
      lastId += 1;
      const id = String(lastId);
      letters.set(id, { id, ...letter });
      const oldest = letters.keys().next().value;
      if (letters.size > max && oldest !== undefined) letters.delete(oldest);
    },
    async list(options = {}) {
      const offset = optionValue(options.offset, OFFSET, 'deadLetters.offset');
      const limit = optionValue(options.limit, LIMIT, 'deadLetters.limit');
      return [...letters.values()].reverse().slice(offset, offset + limit);
    },
    async replay(ids) {
      const picked = pick(ids);
      await replay(picked.map(({ job }) => job));
      return remove(picked);
    },
    async discard(ids) {
      return remove(pick(ids));
    },
  };
}
