/** What every chart has in common: the page, its colours by day and by night, its text for those who cannot see it. */

export const WIDTH = 800;

const STYLE = `
    .page { fill: #ffffff }
    .ours { fill: #0969da }
    .peer { fill: #afb8c1 }
    .limit { fill: none; stroke: #57606a; stroke-dasharray: 3 2 }
    .part0 { fill: #0969da }
    .part1 { fill: #bf8700 }
    .part2 { fill: #2da44e }
    .line { fill: none; stroke: #0969da; stroke-width: 2 }
    .axis { stroke: #d0d7de }
    text { fill: #1f2328 }
    .note { fill: #57606a; font-size: 12px }
    .strong { font-weight: bold }
    @media (prefers-color-scheme: dark) {
      .page { fill: #0d1117 }
      .ours { fill: #58a6ff }
      .peer { fill: #484f58 }
      .limit { stroke: #8b949e }
      .part0 { fill: #58a6ff }
      .part1 { fill: #d29922 }
      .part2 { fill: #3fb950 }
      .line { stroke: #58a6ff }
      .axis { stroke: #30363d }
      text { fill: #e6edf3 }
      .note { fill: #9da7b3 }
    }
  `;

export function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}

export interface TextOptions {
  readonly className?: string;
  readonly anchor?: 'start' | 'middle' | 'end';
}

export function textAt(x: number, y: number, text: string, { anchor, className }: TextOptions = {}): string {
  const attributes = [
    `x="${round(x)}" y="${round(y)}"`,
    ...(className === undefined ? [] : [`class="${className}"`]),
    ...(anchor === undefined ? [] : [`text-anchor="${anchor}"`]),
  ];
  return `<text ${attributes.join(' ')}>${escaped(text)}</text>`;
}

export function round(value: number): number {
  return Math.round(value * 10) / 10;
}

/** A whole picture. `description` says in words what the drawing says. */
export function picture(title: string, description: string, height: number, body: readonly string[]): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${Math.ceil(height)}" role="img" aria-labelledby="title description" font-family="system-ui, sans-serif" font-size="14">
  <title id="title">${escaped(title)}</title>
  <desc id="description">${escaped(description)}</desc>
  <style>${STYLE}</style>
  <rect class="page" width="${WIDTH}" height="${Math.ceil(height)}"/>
${body.map((line) => `  ${line}`).join('\n')}
</svg>
`;
}

/** With as many digits as anybody wants to read, and its unit. */
export function shown(value: number, unit: string): string {
  const [scaled, scaledUnit] =
    unit === 'bytes' && Math.abs(value) >= 10_000
      ? Math.abs(value) >= 10_000_000
        ? [value / 1_000_000, 'MB']
        : [value / 1_000, 'kB']
      : [value, unit];
  const digits = Math.abs(scaled) >= 100 || Number.isInteger(scaled) ? 0 : Math.abs(scaled) >= 10 ? 1 : 2;
  return `${scaled.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })} ${scaledUnit}`.trim();
}
