import type { ShownInspection } from '../http/inspect.js';
import type { EntryFacts } from '../inspect/inspection.js';
import type { ReadableVersion } from '../inspect/versions.js';
import { post, wordsOf } from './api.js';
import { byId, clock, element, setState, setText, whole } from './kit/index.js';

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
    show(await post<ShownInspection>('/api/inspect', body));
  } catch (error) {
    setText('agree', wordsOf(error));
    setState('agree', 'bad');
  }
}

function show(found: ShownInspection): void {
  const { cacheKey, entry, isWell, problem, row, values, verdict } = found;
  setText('agree', problem === null ? verdict : `${verdict}: ${problem}`);
  setState('agree', verdict === 'in step' ? 'good' : isWell ? 'wait' : 'bad');
  setText('cache-key', `cache key ${cacheKey}`);
  setText('row-version', row === null ? 'none: there is no row' : wordsFor(row));
  setText('entry-version', entry === null ? 'none: nothing is cached' : wordsFor(entry));
  const hidden = 'hidden: look “with values”';
  setText('row-value', row === null ? '' : values === undefined ? hidden : (values.stored ?? ''));
  const isValue = entry?.state === 'value';
  setText('entry-value', !isValue ? '' : values === undefined ? hidden : (values.cached ?? ''));
  byId('inspect-facts').replaceChildren(
    ...factsOf(found).flatMap(([name, value]) => [element('dt', name), element('dd', value)]),
  );
}

function wordsFor({ at, version, writer }: ReadableVersion): string {
  return at === null ? 'none: this store has no versions' : `${version}, by ${writer}, ${timeOf(at)}`;
}

function timeOf(at: string): string {
  return new Date(at).toLocaleString();
}

function factsOf({ entry, feed, pointers, queue, tags }: ShownInspection): [name: string, value: string][] {
  const facts: [string, string][] = [];
  if (entry !== null) facts.push(...entryFacts(entry));
  if (tags.length > 0) facts.push(['views depend on it by', tags.join('; ')]);
  if (pointers.length > 0) facts.push(['found by', pointers.join('; ')]);
  if (feed !== null) {
    const { changes, tombstone } = feed;
    const held = changes.map(({ done, op, version }) => {
      const by = done.length === 0 ? 'nobody has dealt with it' : `dealt with by ${done.join(', ')}`;
      return `${op} ${version}, ${by}`;
    });
    facts.push(['the feed holds', held.length === 0 ? 'nothing of it' : held.join('; ')]);
    if (tombstone !== null) facts.push(['deleted', wordsFor(tombstone)]);
  }
  if (queue !== null) {
    const jobs = queue.jobs === null ? 'jobs: not known' : `${whole(queue.jobs)} jobs`;
    facts.push(['the queue holds', `${jobs}, ${whole(queue.deadLetters)} dead letters of it`]);
  }
  return facts;
}

function entryFacts({ bytes, expiresInMs, knownAbsent, refreshAt, state, unflushed }: EntryFacts) {
  const kind = knownAbsent ? 'a hole: known to be absent' : state === 'hole' ? 'a hole' : state;
  const facts: [string, string][] = [
    ['the entry is', unflushed ? `${kind}, not flushed yet` : kind],
    ['expires in', expiresInMs === null ? '–' : clock(expiresInMs / 1_000)],
  ];
  if (state === 'value') facts.push(['bytes', whole(bytes)]);
  if (refreshAt !== null) facts.push(['is refreshed from', timeOf(refreshAt)]);
  return facts;
}
