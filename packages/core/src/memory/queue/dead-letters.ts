import type { DeadLetter, DeadLetters, QueueJob } from '../../contracts/queue.js';
import { numberOption } from '../../kit/options.js';

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
      const most = { min: 0, max: Number.MAX_SAFE_INTEGER };
      const offset = numberOption(options.offset, 0, 'deadLetters.offset', most);
      const limit = numberOption(options.limit, 100, 'deadLetters.limit', most);
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
