import type { Section } from '../all.js';
import { ratioShown } from './bars.js';
import type { Results } from './results.js';
import { shown } from './svg.js';

/** A suite's figures as a table of Markdown: a line for each case, with what ours is divided by each other side. */
export function tables({ runs, sections }: Results): string {
  return Object.entries(sections)
    .map(
      ([name, section]) =>
        `### ${name}, ${runs === 1 ? 'one run' : `medians of ${runs} runs`}\n\n${tableOf(section)}`,
    )
    .join('\n\n');
}

function tableOf({ limit, ours, peers, ratio, unit = {} }: Section): string {
  const others = Object.entries({ ...peers, ...limit });
  const rows = Object.entries(ours).map(([name, figure]) => [
    name,
    shown(figure, unit[name] ?? ''),
    ...others.map(([side, figures]) => {
      const value = figures[name];
      const by = ratio[side]?.[name];
      if (value === undefined) return '';
      return `${shown(value, unit[name] ?? '')}${by === undefined ? '' : ` (${ratioShown(by)})`}`;
    }),
  ]);
  const head = ['', 'Lockstep', ...others.map(([side]) => side)];
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}
