import type { Status } from '../page-server/status.js';
import type { Point } from '../supervisor/series.js';
import { Charts } from './charts.js';
import { startControls } from './controls.js';
import { setState, setText } from './dom.js';
import { showFigures } from './figures.js';
import { Inspector } from './inspector.js';
import { startTheme } from './theme.js';
import { Timeline } from './timeline.js';

/** Two minutes at two points a second, and some. */
const MAX_POINTS = 300;

let points: Point[] = [];

startTheme(() => charts.build());
const charts = new Charts();
const timeline = new Timeline();
const inspector = new Inspector();
startControls((id) => void inspector.look(id));

function show(status: Status): void {
  const newest = points.at(-1);
  showFigures(status, newest);
  timeline.show(status.faultLog, newest?.atMs ?? Date.now());
  charts.show(points);
}

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
  // The browser connects again by itself.
  setText('state', 'not connected');
  setState('state', 'bad');
});
