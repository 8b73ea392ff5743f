import { byId, element } from '@lockstep/worker/page';
import type { FaultRecord } from '../faults/injector.js';
import { WINDOW_SECONDS } from './charts.js';

const LANES = [
  { label: 'Cache', kind: 'redis', names: ['redis-freeze', 'redis-kill'] },
  { label: 'Queue', kind: 'redis', names: ['queue-kill'] },
  { label: 'Applications', kind: 'app', names: ['app-kill'] },
  { label: 'Other programs', kind: 'foreign', names: ['foreign-write'] },
] as const;
const STORE_LANE = { label: 'Primary', kind: 'store', names: ['mongo-stepdown', 'mongo-kill'] } as const;

/** Faults of the last two minutes, a lane for each part that they hit. */
export class Timeline {
  readonly #lanes: readonly (typeof STORE_LANE | (typeof LANES)[number])[];
  readonly #tracks: readonly HTMLElement[];

  constructor() {
    this.#lanes = document.documentElement.dataset['store'] === 'mongo' ? [...LANES, STORE_LANE] : LANES;
    const tracks = this.#lanes.map(() => element('div', [], 'track'));
    byId('timeline').replaceChildren(
      ...this.#lanes.map(({ label }, lane) =>
        element('div', [element('span', label), tracks[lane] ?? element('div', [])], 'lane'),
      ),
      element('div', [element('span', `−${WINDOW_SECONDS} s`), element('span', 'now')], 'axis'),
    );
    this.#tracks = tracks;
  }

  show(log: readonly FaultRecord[], nowMs: number): void {
    const fromMs = nowMs - WINDOW_SECONDS * 1_000;
    for (const [lane, { kind, names }] of this.#lanes.entries()) {
      const marks = log
        .filter(({ name, toMs }) => names.some((one) => one === name) && (toMs ?? nowMs) >= fromMs)
        .map(({ name, detail, fromMs: began, toMs }) => {
          const mark = element('i', [], `mark ${kind}`);
          const left = Math.max(0, (began - fromMs) / (WINDOW_SECONDS * 10));
          mark.style.insetInlineStart = `${left}%`;
          mark.style.inlineSize = `${Math.max(0, ((toMs ?? nowMs) - fromMs) / (WINDOW_SECONDS * 10) - left)}%`;
          mark.title = `${name}: ${detail}`;
          return mark;
        });
      this.#tracks[lane]?.replaceChildren(...marks);
    }
  }
}
