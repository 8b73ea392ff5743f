import { byId, Charts, setState, setText, startTheme } from '@lockstep/worker/page';
import type { Status } from '../page-server/status.js';
import type { Point } from '../supervisor/series.js';
import { CHARTS, WINDOW_SECONDS } from './charts.js';
import { startControls } from './controls.js';
import { showFigures } from './figures.js';
import { Inspector } from './inspector.js';
import { Timeline } from './timeline.js';
import { ShopWindow } from './window.js';

/** Two minutes at two points a second, and some. */
const MAX_POINTS = 300;

const RECONNECT_MS = 1_000;

let points: Point[] = [];

startTheme('lockstep-demo-theme', () => charts.build());
const charts = new Charts(CHARTS, WINDOW_SECONDS);
const timeline = new Timeline();
const inspector = new Inspector();
new ShopWindow();
startControls((id) => void inspector.look(id));

// Arrow keys must reach the rest of a table that is wider than the screen.
byId('scroll').tabIndex = 0;

function show(status: Status): void {
  const newest = points.at(-1);
  showFigures(status, newest);
  timeline.show(status.faultLog, newest?.atMs ?? Date.now());
  charts.show(points);
}

function connect(): void {
  const source = new EventSource('/events');
  source.addEventListener('history', (event: MessageEvent<string>) => {
    const history = JSON.parse(event.data) as { points: Point[]; status: Status };
    points = history.points.slice(-MAX_POINTS);
    show(history.status);
  });
  source.addEventListener('point', (event: MessageEvent<string>) => {
    const { point, status } = JSON.parse(event.data) as { point: Point; status: Status };
    points = [...points, point].slice(-MAX_POINTS);
    show(status);
  });
  source.addEventListener('error', () => {
    setText('state', 'not connected');
    setState('state', 'bad');
    // A connection that was lost is made again by the browser; one that was refused is not.
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, RECONNECT_MS);
  });
}

connect();
