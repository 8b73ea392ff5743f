import { picture, round, shown, textAt, WIDTH } from './svg.js';

export interface Row {
  readonly label: string;
  readonly kind: 'ours' | 'peer' | 'limit';
  /** One, or several that are drawn one behind the other. */
  readonly values: readonly number[];
  /** Ours ÷ this one. */
  readonly ratio?: number;
}

export interface Group {
  readonly title: string;
  readonly unit: string;
  readonly rows: readonly Row[];
}

export interface BarChart {
  readonly title: string;
  readonly groups: readonly Group[];
  /** The names of the values of a row, where it has several. */
  readonly parts?: readonly string[];
}

const [LEFT, RIGHT, ROW, BAR] = [160, 250, 22, 14];

/** Bars by group, each group on a scale of its own: units differ, and what counts is how long they are beside each other. */
export function barChart({ groups, parts = [], title }: BarChart): string {
  const body: string[] = [textAt(16, 28, title, { className: 'strong' })];
  let y = 48;
  if (parts.length > 0) {
    let x = LEFT;
    for (const [i, part] of parts.entries()) {
      body.push(`<rect class="part${i}" x="${x}" y="${y - 4}" width="12" height="12" rx="2"/>`);
      body.push(textAt(x + 18, y + 7, part, { className: 'note' }));
      x += 130;
    }
    y += 22;
  }
  for (const { rows, title: heading, unit } of groups) {
    body.push(textAt(16, y + 12, `${heading}`), textAt(WIDTH - 16, y + 12, better(unit), END));
    y += 22;
    const longest = Math.max(...rows.map(sumOf), Number.MIN_VALUE);
    for (const row of rows) {
      body.push(...drawn(row, unit, y, (WIDTH - LEFT - RIGHT) / longest));
      y += ROW;
    }
    y += 10;
  }
  return picture(title, described(groups), y + 6, body);
}

const END = { className: 'note', anchor: 'end' } as const;

function drawn(row: Row, unit: string, y: number, scale: number): string[] {
  const lines = [textAt(LEFT - 10, y + 12, row.label, END)];
  let x = LEFT;
  for (const [i, value] of row.values.entries()) {
    const width = Math.max(1, round(Math.max(0, value) * scale));
    const className = row.values.length > 1 ? `part${i}` : row.kind;
    lines.push(
      `<rect class="${className}" x="${round(x)}" y="${y}" width="${width}" height="${BAR}"${i === 0 ? ' rx="2"' : ''}/>`,
    );
    x += width;
  }
  const beside = row.ratio === undefined ? '' : `  (ours ÷ it ${ratioShown(row.ratio)})`;
  lines.push(
    textAt(x + 8, y + 12, `${shown(sumOf(row), unit)}${beside}`, {
      className: row.kind === 'ours' ? 'note strong' : 'note',
    }),
  );
  return lines;
}

function sumOf({ values }: Row): number {
  return values.reduce((sum, value) => sum + value, 0);
}

export function ratioShown(ratio: number): string {
  return ratio >= 10 ? ratio.toFixed(0) : ratio >= 0.1 ? ratio.toFixed(2) : ratio.toPrecision(1);
}

/** Rates: the more the better. */
export function better(unit: string): string {
  return unit.endsWith('/s') ? 'more is better' : 'less is better';
}

function described(groups: readonly Group[]): string {
  return groups
    .map(
      ({ rows, title, unit }) =>
        `${title} (${better(unit)}): ${rows.map((row) => `${row.label} ${shown(sumOf(row), unit)}`).join(', ')}.`,
    )
    .join(' ');
}
