import { byId, clock, element, percent, setState, setText, short, whole } from '@lockstep/worker/page';
import type { Status } from '../page-server/status.js';
import type { Point } from '../supervisor/series.js';

/** Writes the figures of a moment. */
export function showFigures(status: Status, point: Point | undefined): void {
  showRun(status);
  showVerdict(status);
  if (point !== undefined) showNow(point);
  setText('queries', whole(status.storeQueries));
  setText('reads-total', whole(status.reads));
  setText('reduction', status.reads === 0 ? '–' : `${percent(status.storeLoadReduction)} %`);
  const failed = status.failedReads + status.failedWrites;
  setText('failed', whole(failed));
  byId('failed-box').classList.toggle('bad', failed > 0);
  showProcesses(status);
  showLatencies(status);
  setText('notes', status.notes.join(' · '));
}

function showRun(status: Status): void {
  const engine = status.engine === 'naive' ? 'the naive pattern' : 'Lockstep';
  const cache = status.redis === null ? 'memory' : `Redis ${status.redis.version}`;
  setText(
    'run',
    `${engine} · ${status.versions['store'] ?? status.store} · ${cache} · ${status.mix} · ${clock(status.uptimeMs / 1_000)}`,
  );
  const down = status.applications.some(({ state }) => state !== 'running');
  const [text, state] = status.cacheDown
    ? (['cache is down', 'bad'] as const)
    : status.storeDown
      ? (['no primary', 'bad'] as const)
      : down
        ? (['a process is down', 'bad'] as const)
        : status.phase === 'running'
          ? (['all running', 'good'] as const)
          : ([status.phase === 'warm' ? 'warming up' : 'ending', 'wait'] as const);
  setText('state', text);
  setState('state', state);
}

function showVerdict(status: Status): void {
  const stale = status.staleReads + status.staleViews;
  setText('stale', whole(stale));
  setText('checked', whole(status.checkedReads + status.checkedViews));
  setState('verdict', stale === 0 ? 'good' : 'bad');
  const hits = status.viewReads === 0 ? '–' : `${percent(1 - status.viewLoads / status.viewReads)} %`;
  setText('views-hits', hits);
  setText('views-checked', whole(status.checkedViews));
  setText('views-stale', whole(status.staleViews));
  setState('views-verdict', status.staleViews === 0 ? 'good' : 'bad');
}

function showNow(point: Point): void {
  setText('reads', whole(point.readsPerSecond));
  setText('writes', whole(point.writesPerSecond));
  setText('hits', point.hitRate === null ? '–' : percent(point.hitRate));
  setText('lag', point.feedLagMs === null ? '–' : whole(point.feedLagMs));
  setText('queue', point.queueDepth === null ? '–' : whole(point.queueDepth));
  setText('without', whole(point.readsPerSecond));
  setText('with', whole(point.storeQueriesPerSecond));
  const most = Math.max(1, point.readsPerSecond, point.storeQueriesPerSecond);
  byId('bar-without').style.setProperty('--share', String(point.readsPerSecond / most));
  byId('bar-with').style.setProperty('--share', String(point.storeQueriesPerSecond / most));
}

function showProcesses(status: Status): void {
  const applications = status.applications.map((one) => {
    const cache =
      one.state === 'running' ? { closed: 'answers', open: 'away', 'half-open': 'trying' }[one.breaker] : '–';
    return row(
      one.name,
      one.state,
      one.url.slice('http://'.length),
      one.pid,
      one.restarts,
      cache ?? one.breaker,
    );
  });
  const workers = status.workers.map((one) =>
    row(
      one.name,
      one.state,
      one.url?.slice('http://'.length).replace(/\/.*$/, '') ?? '–',
      one.pid,
      one.restarts,
      '–',
    ),
  );
  byId('processes').replaceChildren(...applications, ...workers);
}

function row(
  name: string,
  state: string,
  address: string,
  pid: number,
  restarts: number,
  cache: string,
): HTMLElement {
  const head = element('th', name);
  head.setAttribute('scope', 'row');
  return element('tr', [
    head,
    element('td', state, state === 'running' ? 'up' : 'down'),
    element('td', address),
    element('td', String(pid), 'n'),
    element('td', String(restarts), 'n'),
    element('td', cache),
  ]);
}

function showLatencies(status: Status): void {
  const shown = [
    ['Read', status.readMs],
    ['Write', status.writeMs],
    ['of it the store', status.writeStoreMs],
    ['of it the cache', status.writeCacheMs],
    ['Over HTTP', status.httpMs],
    ['Feed lag', status.feedLagMs],
  ] as const;
  byId('latencies').replaceChildren(
    ...shown.map(([label, { p50, p99, count }]) =>
      element('div', [
        element('dt', label),
        element('dd', count === 0 ? 'none seen' : `${short(p50)} ms, p99 ${short(p99)}`),
      ]),
    ),
  );
}
