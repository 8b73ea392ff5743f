import type { Point, State } from '../recorder.js';
import { get } from './api.js';
import { CHARTS, LEAST_SECONDS, WINDOW_SECONDS } from './charts.js';
import { showConsistency, showOffenders } from './consistency.js';
import { startInspector } from './inspector.js';
import { byId, Charts, element, setState, setText, startTheme } from './kit/index.js';
import { Letters } from './letters.js';
import { showOverview } from './overview.js';
import { showParts } from './parts.js';
import { showProcesses } from './processes.js';
import { admitted, startLeaving } from './session.js';

/** Ten minutes at one point in two seconds. */
const MAX_POINTS = 300;
const RECONNECT_MS = 1_000;

const PAGES = ['overview', 'processes', 'collections', 'inspect', 'consistency', 'letters'] as const;

let points: readonly Point[] = [];
let state: State | null = null;
let charts: Charts<Point> | undefined;

startTheme('lockstep-dashboard-theme', () => charts?.build());
startLeaving();
startInspector();
const letters = new Letters();
// Arrow keys must reach the rest of a table that is wider than the screen.
for (const id of ['processes-scroll', 'letters-scroll', 'offenders-scroll', 'row-value', 'entry-value'])
  byId(id).tabIndex = 0;
// Titles take the focus when a link leads to their page; nobody walks through them.
for (const name of PAGES) byId(`${name}-title`).tabIndex = -1;

await admitted();
byId('nav').hidden = false;
window.addEventListener('hashchange', () => turn(true));
turn(false);
void link();
connect();

async function link(): Promise<void> {
  const { bullBoard } = await get<{ bullBoard: string | null }>('/api/links').catch(() => ({
    bullBoard: null,
  }));
  if (bullBoard === null) return;
  const there = element('a', 'The raw queues, in bull-board') as HTMLAnchorElement;
  there.href = bullBoard;
  there.rel = 'noreferrer';
  byId('bull-board').append(there);
}

/** Shows the page that the address names. Whoever came by a link is taken to its title. */
function turn(focus: boolean): void {
  const asked = location.hash.slice(1);
  const page = PAGES.find((name) => name === asked) ?? 'overview';
  for (const name of PAGES) byId(name).hidden = name !== page;
  for (const link of document.querySelectorAll('#nav a')) {
    if (link.getAttribute('href') === `#${page}`) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  if (focus) byId(`${page}-title`).focus();
  if (page === 'letters') void letters.show();
  if (page === 'consistency') void showOffenders();
  show();
  if (page !== 'overview') return;
  // One that is not shown has no size to be drawn in.
  charts ??= new Charts(CHARTS, WINDOW_SECONDS, LEAST_SECONDS);
  charts.build();
  charts.show(points);
}

function show(): void {
  if (state === null) return;
  showOverview(state, points.at(-1));
  showProcesses(state);
  showParts(state);
  showConsistency(state.status.consistency);
  if (!byId('overview').hidden) charts?.show(points);
}

function connect(): void {
  const source = new EventSource('/api/events');
  source.addEventListener('history', (event: MessageEvent<string>) => {
    ({ points, state } = JSON.parse(event.data) as { points: Point[]; state: State | null });
    show();
  });
  source.addEventListener('point', (event: MessageEvent<string>) => {
    const told = JSON.parse(event.data) as { point: Point; state: State };
    const dead = points.at(-1)?.deadLetters;
    const stale = state?.status.consistency?.open;
    points = [...points.slice(1 - MAX_POINTS), told.point];
    state = told.state;
    show();
    if (!byId('letters').hidden && dead !== told.point.deadLetters) void letters.show();
    if (!byId('consistency').hidden && stale !== state.status.consistency?.open) void showOffenders();
  });
  source.addEventListener('error', () => {
    setText('state', 'not connected');
    setState('state', 'bad');
    // A connection that was lost is made again by the browser; one that was refused is not.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => void again(), RECONNECT_MS);
  });
}

/** A session may be over by now. */
async function again(): Promise<void> {
  const session = await get<{ passes: boolean }>('/api/session').catch(() => undefined);
  if (session?.passes === false) location.reload();
  else connect();
}
