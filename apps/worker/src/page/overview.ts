import type { Point, ProcessState, State } from '../recorder.js';
import { byId, clock, element, percent, setState, setText, whole } from './kit/index.js';

/** More than these say nothing new: one server that is away has a line for each of its collections. */
const MAX_PROBLEMS = 20;

/** The figures of a moment, above the charts and in the header. */
export function showOverview(state: State, point: Point | undefined): void {
  const { cache, ready } = state.status;
  const problems = [...state.status.problems, ...state.processes.flatMap(breakerOf)];
  const list = byId('problems');
  list.hidden = problems.length === 0;
  const more = problems.length - MAX_PROBLEMS;
  const shown = [...problems.slice(0, MAX_PROBLEMS), ...(more > 0 ? [`and ${whole(more)} more`] : [])];
  list.replaceChildren(...shown.map((problem) => element('li', problem)));
  const [text, look] = !cache.enabled
    ? (['cache is off', 'bad'] as const)
    : ready
      ? (['ready', 'good'] as const)
      : (['not ready', 'bad'] as const);
  setText('state', text);
  setState('state', look);
  const own = state.processes.find(({ isOwn }) => isOwn);
  if (own !== undefined) {
    const up = clock((own.atMs - own.startedAtMs) / 1_000);
    setText('run', `${own.name}, process ${own.pid} · ${own.cache.name} · up for ${up}`);
  }
  if (point === undefined) return;
  setText('hits', point.hitRate === null ? '–' : percent(point.hitRate));
  setText('reads', whole(point.readsPerSecond));
  setText('loads', whole(point.loadsPerSecond));
  setText('writes', whole(point.writesPerSecond));
  setText('lag', point.oldestMs === null ? '–' : whole(point.oldestMs));
  setText('breakers', whole(point.breakers));
  byId('breakers-box').classList.toggle('bad', point.breakers > 0);
  const dead = point.deadLetters ?? 0;
  byId('dead-count').hidden = dead === 0;
  setText('dead-count', whole(dead));
}

/** Why a process does not use the cache. */
function breakerOf({ cache, name, pid }: ProcessState): string[] {
  if (cache.breaker === 'closed') return [];
  return [`${name}, process ${pid}, does without the cache: ${cache.cause ?? 'it is being tried again'}`];
}
