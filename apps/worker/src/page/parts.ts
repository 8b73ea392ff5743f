import type { PartState, State } from '../recorder.js';
import { byId, element, percent, whole } from './kit/index.js';

const OUTCOMES = {
  updated: 'writes that updated the cache',
  invalidated: 'that invalidated it',
  buffered: 'that were buffered',
  queued: 'left to the queue',
  deferred: 'left to the feed',
} as const;

/** Cards are made once and then filled, so that what somebody has opened stays open. */
const cards = new Map<string, HTMLElement>();

export function showParts({ parts }: State): void {
  const holder = byId('parts');
  const names = parts.map(({ kind, name }) => `${kind} ${name}`);
  for (const [name, card] of cards) {
    if (names.includes(name)) continue;
    card.remove();
    cards.delete(name);
  }
  for (const [i, part] of parts.entries()) {
    const name = names[i] as string;
    let card = cards.get(name);
    if (card === undefined) {
      card = cardOf(part);
      cards.set(name, card);
      holder.append(card);
    }
    fill(card, part);
  }
  fillChoices(parts.filter(({ kind }) => kind === 'collection').map(({ name }) => name));
}

function cardOf({ kind, name }: PartState): HTMLElement {
  const title = element('h3', name);
  title.append(' ', element('small', kind));
  const settings = element('details', [element('summary', 'Settings'), element('dl', [], 'pairs settings')]);
  return element('article', [title, element('dl', [], 'pairs figures'), settings], 'panel part');
}

function fill(card: HTMLElement, part: PartState): void {
  const { figures } = part;
  const misses = Object.entries(figures.misses).filter(([, count]) => count > 0);
  const writes = Object.entries(OUTCOMES).flatMap(([outcome, words]) => {
    const count = figures.writes[outcome as keyof typeof OUTCOMES] ?? 0;
    return count > 0 ? [pair(words, whole(count))] : [];
  });
  const buffer =
    part.buffering === null
      ? []
      : [
          pair('processes that buffer now', whole(part.buffering)),
          pair('unflushed keys', part.unflushed === null ? '–' : whole(part.unflushed)),
        ];
  const rows = [
    pair('hit rate', part.hitRate === null ? '–' : `${percent(part.hitRate)} %`),
    pair('hits', whole(figures.hits)),
    ...misses.map(([reason, count]) => pair(`misses: ${reason}`, whole(count))),
    pair('loads', whole(figures.loads)),
    pair('rows loaded', whole(figures.loadedRows)),
    ...writes,
    ...buffer,
    ...nearPairs(part.near),
    pair('processes', whole(part.processes)),
  ];
  card.querySelector('.figures')?.replaceChildren(...rows.flat());
  const settings = Object.entries(part.settings).map(([name, value]) => {
    const differs = part.differing.includes(name);
    return pair(name, differs ? `${String(value)}, and others in other processes` : String(value), differs);
  });
  card.querySelector('.settings')?.replaceChildren(...settings.flat());
}

function nearPairs(near: PartState['near']): HTMLElement[][] {
  if (near === null) return [];
  const { bytes, dropped, hits, items, live, misses, processes } = near;
  const share = hits + misses === 0 ? '–' : `${percent(hits / (hits + misses))} %`;
  return [
    pair('near entries', whole(items)),
    ...(bytes === 0 ? [] : [pair('near bytes', whole(bytes))]),
    pair('near hits', `${whole(hits)}, ${share}`),
    pair('near, dropped by changes', whole(dropped)),
    pair('near channel', `proven in ${live} of ${processes} processes`),
  ];
}

function pair(name: string, value: string, differs = false): HTMLElement[] {
  return [element('dt', name), element('dd', value, differs ? 'differs' : '')];
}

function fillChoices(names: readonly string[]): void {
  const select = byId<HTMLSelectElement>('inspect-collection');
  const known = [...select.options].map(({ value }) => value);
  if (known.join('\n') === names.join('\n')) return;
  const { value } = select;
  select.replaceChildren(...names.map((name) => new Option(name, name)));
  if (names.includes(value)) select.value = value;
}
