import type { ProcessState, State } from '../recorder.js';
import { byId, clock, element, percent, whole } from './kit/index.js';

const BREAKERS = { closed: 'answers', open: 'away', 'half-open': 'trying' } as const;

export function showProcesses({ processes }: State): void {
  const sorted = [...processes].sort((a, b) => a.name.localeCompare(b.name) || a.pid - b.pid);
  byId('processes-rows').replaceChildren(...sorted.map(row));
}

function row(one: ProcessState): HTMLElement {
  const { cache, rates, relay } = one;
  const name = element('th', one.isOwn ? `${one.name} (this worker)` : one.name);
  name.setAttribute('scope', 'row');
  const state = cache.enabled ? BREAKERS[cache.breaker] : 'switched off';
  const seen = element('td', state, cache.enabled && cache.breaker === 'closed' ? 'up' : 'down');
  if (cache.cause !== undefined) {
    seen.append(element('div', cache.cause, 'cause'));
  }
  return element('tr', [
    name,
    element('td', one.host),
    element('td', String(one.pid), 'n'),
    element('td', clock((one.atMs - one.startedAtMs) / 1_000)),
    seen,
    element('td', whole(rates.readsPerSecond), 'n'),
    element('td', rates.hitRate === null ? '–' : `${percent(rates.hitRate)} %`, 'n'),
    element('td', whole(rates.writesPerSecond), 'n'),
    element('td', relay === null ? '–' : `${whole(relay.handled)} changes, p99 ${whole(relay.lagMs.p99)} ms`),
    element('td', one.node),
  ]);
}
