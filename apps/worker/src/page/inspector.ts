import type { Inspection } from '../http/inspect.js';
import { post, wordsOf } from './api.js';
import { byId, setState, setText } from './kit/index.js';

const WELL = ['in step', 'not cached', 'not flushed yet'];

export function startInspector(): void {
  byId('inspector').addEventListener('submit', (event) => {
    event.preventDefault();
    void look();
  });
}

async function look(): Promise<void> {
  const values = byId<HTMLInputElement>('inspect-values').checked;
  const body = {
    collection: byId<HTMLSelectElement>('inspect-collection').value,
    id: byId<HTMLInputElement>('inspect-id').value,
    values,
  };
  try {
    show(await post<Inspection>('/api/inspect', body), values);
  } catch (error) {
    setText('agree', wordsOf(error));
    setState('agree', 'bad');
  }
}

function show({ cacheKey, entry, row, verdict }: Inspection, values: boolean): void {
  setText('agree', verdict);
  setState('agree', verdict === 'in step' ? 'good' : WELL.includes(verdict) ? 'wait' : 'bad');
  setText('cache-key', `cache key ${cacheKey}`);
  setText('row-version', row === null ? 'none: there is no row' : String(row.version));
  setText('entry-version', entry === null ? 'none, or a hole' : `${entry.version}${absent(entry.state)}`);
  const hidden = values ? '' : 'hidden: look “with values”';
  setText('row-value', row === null ? '' : (row.value ?? hidden));
  setText('entry-value', entry === null ? '' : (entry.value ?? hidden));
}

function absent(state: 'value' | 'absent'): string {
  return state === 'absent' ? ', absent' : '';
}
