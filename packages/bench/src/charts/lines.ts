import { picture, round, shown, textAt, WIDTH } from './svg.js';

export interface Panel {
  readonly title: string;
  readonly unit: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

export interface LineChart {
  readonly title: string;
  /** Of the horizontal axis. */
  readonly unit: string;
  readonly panels: readonly Panel[];
}

const [COLUMNS, GAP, TOP, PANEL, PLOT] = [3, 24, 48, 132, 74];

/** Panels side by side, each from 0 on a scale of its own: whether it grows is what counts. */
export function lineChart({ panels, title, unit }: LineChart): string {
  const body: string[] = [textAt(16, 28, title, { className: 'strong' })];
  const width = (WIDTH - 32 - GAP * (COLUMNS - 1)) / COLUMNS;
  for (const [i, panel] of panels.entries()) {
    const x = 16 + (i % COLUMNS) * (width + GAP);
    body.push(...drawn(panel, unit, x, TOP + Math.floor(i / COLUMNS) * PANEL, width));
  }
  return picture(title, described(panels, unit), TOP + Math.ceil(panels.length / COLUMNS) * PANEL, body);
}

function drawn({ points, title, unit }: Panel, axis: string, x: number, y: number, width: number): string[] {
  const last = points.at(-1) ?? [0, 0];
  const highest = Math.max(...points.map(([, value]) => value), Number.MIN_VALUE);
  const right = Math.max(last[0], Number.MIN_VALUE);
  const bottom = y + 20 + PLOT;
  const line = points
    .map(([at, value]) => `${round(x + (at / right) * width)},${round(bottom - (value / highest) * PLOT)}`)
    .join(' ');
  return [
    textAt(x, y + 12, title),
    textAt(x + width, y + 12, shown(last[1], unit), { className: 'note', anchor: 'end' }),
    `<path class="axis" d="M${round(x)} ${bottom} H${round(x + width)}"/>`,
    `<polyline class="line" points="${line}"/>`,
    textAt(x, bottom + 15, '0', { className: 'note' }),
    textAt(x + width, bottom + 15, `${round(right)} ${axis}`, { className: 'note', anchor: 'end' }),
  ];
}

function described(panels: readonly Panel[], axis: string): string {
  return panels
    .map(({ points, title, unit }) => {
      const [first, last] = [points[0], points.at(-1)];
      const [from, to] = [first?.[1] ?? Number.NaN, last?.[1] ?? Number.NaN];
      return `${title}: ${shown(from, unit)} at first, ${shown(to, unit)} after ${round(last?.[0] ?? 0)} ${axis}.`;
    })
    .join(' ');
}
