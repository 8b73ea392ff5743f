import { byId, element, setState, setText, whole } from '@lockstep/worker/page';
import type { Inspection } from '../application/inspect.js';
import type { Product } from '../products.js';

const FOLLOW_MS = 1_000;

/** A product's row beside its cache entry. */
export class Inspector {
  #asking = false;

  constructor() {
    byId('inspector').addEventListener('submit', (event) => {
      event.preventDefault();
      void this.look();
    });
    setInterval(() => {
      if (byId<HTMLInputElement>('follow').checked && !document.hidden) void this.look();
    }, FOLLOW_MS);
    void this.look();
  }

  async look(id = byId<HTMLInputElement>('inspect-id').value): Promise<void> {
    if (this.#asking || !/^[1-9]\d{0,9}$/.test(id)) return;
    this.#asking = true;
    byId<HTMLInputElement>('inspect-id').value = id;
    try {
      const response = await fetch(`/inspect/${id}`);
      if (!response.ok) throw new Error(`answered ${response.status}`);
      show((await response.json()) as Inspection);
    } catch {
      setText('agree', 'can not look right now');
      setState('agree', 'wait');
    } finally {
      this.#asking = false;
    }
  }
}

function show({ row, entry, cacheError }: Inspection): void {
  const other = entry?.product ?? null;
  setText('row-version', row === null ? 'no row' : String(row.version));
  fill('row', row?.product ?? null, null);
  setText('entry-kind', entry?.state === 'hole' ? 'hole, floor' : 'version');
  const empty = cacheError === null ? 'not cached' : 'can not be reached';
  setText('entry-version', entry === null ? empty : String(entry.version));
  fill('entry', other, row?.product ?? null);
  const [text, state] = verdict({ row, entry, cacheError, id: 0 });
  setText('agree', text);
  setState('agree', state);
}

function verdict({ row, entry, cacheError }: Inspection): [string, 'good' | 'bad' | 'wait'] {
  if (cacheError !== null) return ['the cache does not answer', 'wait'];
  if (entry === null) return ['empty: the next read fills it', 'wait'];
  if (entry.state === 'hole') return ['a hole: readers ask the store', 'wait'];
  if (entry.version === (row?.version ?? entry.version)) return ['in step', 'good'];
  // The row is read first, so that a write between the two looks shows as a newer entry.
  return entry.version > (row?.version ?? 0) ? ['being written', 'wait'] : ['behind its row', 'bad'];
}

function fill(id: string, product: Product | null, against: Product | null): void {
  const fields: readonly [string, keyof Product][] = [
    ['name', 'name'],
    ['category', 'category'],
    ['price', 'price'],
    ['stock', 'stock'],
    ['text', 'description'],
  ];
  byId(id).replaceChildren(
    ...fields.flatMap(([label, field]) => {
      const value = product === null ? '–' : textOf(field, product[field]);
      const differs = product !== null && against !== null && product[field] !== against[field];
      const cell = element('dd', value, differs ? 'differs' : '');
      cell.title = value;
      return [element('dt', label), cell];
    }),
  );
}

function textOf(field: keyof Product, value: string | number): string {
  if (field === 'price') return (Number(value) / 100).toFixed(2);
  return typeof value === 'number' ? whole(value) : value;
}
