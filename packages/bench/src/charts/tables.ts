import type { Section } from '../all.js';
import { ratioShown } from './bars.js';
import { DEFINITIONS, UNITS } from './draw.js';
import type { Results } from './results.js';
import { shown } from './svg.js';

/** The page of all charts and tables, in Markdown; charts are in `charts` beside it. */
export function page(results: Results, charts: ReadonlyMap<string, string>): string {
  const { machine = {}, runs, sections } = results;
  const { cores, load, node, processor } = machine;
  const facts = [
    `${cores} cores (${processor})`,
    `Node.js ${node}`,
    `${load?.toFixed(1)} processes that ran or waited in the last minute`,
  ].join(', ');
  const of = runs === 1 ? 'One run' : `Medians of ${runs} runs`;
  const known = DEFINITIONS.flatMap(({ file, sections: names, title }) => {
    const svg = charts.get(`${file}.svg`);
    const tables = names.flatMap((name) => {
      const section = sections[name];
      return section === undefined || isTold(file, name) ? [] : [tableOf(section, UNITS[name] ?? '')];
    });
    if (svg === undefined) return [];
    return [
      [`## ${title}`, `![${title}: the figures are those of the table](charts/${file}.svg)`, ...tables].join(
        '\n\n',
      ),
    ];
  });
  return `${[
    '# Benchmarks',
    `${of} of [\`pnpm bench\`](performance.md), by \`pnpm bench charts\`, on a machine of ${facts}. Behind each figure: ours ÷ it, the median of the turns' own ratios. \`the bare clients\` do the least that has to be done.`,
    ...known,
  ].join('\n\n')}\n`;
}

/** A suite that two charts are of has one table, below the first. */
function isTold(file: string, name: string): boolean {
  return DEFINITIONS.find(({ sections }) => sections.includes(name))?.file !== file;
}

function tableOf({ limit, ours, peers, ratio, unit = {} }: Section, usual: string): string {
  const others = Object.entries({ ...peers, ...limit });
  const rows = Object.entries(ours).map(([name, figure]) => [
    name,
    shown(figure, unit[name] ?? usual),
    ...others.map(([side, figures]) => {
      const value = figures[name];
      const by = ratio[side]?.[name];
      if (value === undefined) return '';
      return `${shown(value, unit[name] ?? usual)}${by === undefined ? '' : ` (${ratioShown(by)})`}`;
    }),
  ]);
  const head = ['', 'Lockstep', ...others.map(([side]) => side)];
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}
