import type { Section } from '../all.js';
import type { GrowthResult } from '../fleet/growth.js';
import { barChart, type Group, type Row } from './bars.js';
import { lineChart } from './lines.js';
import type { Results } from './results.js';

export interface Definition {
  readonly file: string;
  readonly title: string;
  /** The suites that it shows, in this order. */
  readonly sections: readonly string[];
  /** Of cases: those whose names it fits. @defaultValue all */
  readonly cases?: RegExp;
  /** @defaultValue all */
  readonly sides?: readonly string[];
  /** Cases "what: part" are drawn as one bar. */
  readonly parts?: readonly string[];
}

/** Enough to compare with, where there are many cases. */
const FEW = ['by hand', 'tuned by hand', 'bentocache', 'the bare clients'];

export const DEFINITIONS: readonly Definition[] = [
  { file: 'reads', title: 'Hits in Redis', sections: ['reads', 'getMany'] },
  { file: 'near', title: 'Hits in the process', sections: ['near'] },
  { file: 'misses', title: 'Reads of rows that nobody has read', sections: ['misses'] },
  {
    file: 'stampede',
    title: 'Readers of one cold key: how often the database is asked',
    sections: ['stampede'],
    cases: /^loads/,
  },
  { file: 'writes', title: 'Rows into the table and the cache', sections: ['writes'], cases: /^put/ },
  { file: 'changes', title: 'One caller changes a row', sections: ['writes'], cases: /caller$/ },
  { file: 'transactions', title: 'Three rows in one transaction', sections: ['transactions'] },
  { file: 'contention', title: 'Callers of one process change one row', sections: ['contention'] },
  { file: 'mix', title: 'Reads and writes at once', sections: ['mix'], cases: /:/, sides: FEW },
  { file: 'production', title: 'Ten mixes of production', sections: ['production'], cases: /^cluster/ },
  { file: 'payloads', title: 'Small, middling and large rows', sections: ['payloads'] },
  { file: 'sizes', title: 'Tables of any length', sections: ['sizes'] },
  { file: 'processes', title: 'Several processes on two cores', sections: ['processes'] },
  { file: 'memory', title: 'What an entry takes', sections: ['memory'] },
  {
    file: 'costs',
    title: 'Processor time of a call',
    sections: ['costs'],
    parts: ['application', 'store', 'cache'],
  },
  { file: 'log', title: 'What a write adds to the database’s log', sections: ['log'], cases: /^log/ },
  { file: 'bulk', title: 'Statements of others that write 20,000 rows', sections: ['bulk'] },
];

/** The unit of a suite's figures, where it does not tell it by case. */
export const UNITS: Readonly<Record<string, string>> = {
  near: 'hits/s',
  contention: 'calls/s',
  relay: 'changes/s',
  bulk: 'ms',
};

/** The charts of what there is, by the name of the file. */
export function draw({ growth, sections }: Results): ReadonlyMap<string, string> {
  const charts = new Map<string, string>();
  for (const definition of DEFINITIONS) {
    const groups = definition.sections.flatMap((name) => {
      const section = sections[name];
      return section === undefined ? [] : groupsOf(name, section, definition);
    });
    if (groups.length === 0) continue;
    const { parts, title } = definition;
    charts.set(`${definition.file}.svg`, barChart({ title, groups, ...(parts !== undefined && { parts }) }));
  }
  if (growth !== undefined) charts.set('growth.svg', growthChart(growth));
  return charts;
}

function groupsOf(name: string, section: Section, { cases = /^/, parts, sides }: Definition): Group[] {
  const unitOf = (each: string) => section.unit?.[each] ?? UNITS[name] ?? '';
  const wanted = Object.keys(section.ours).filter((each) => cases.test(each));
  if (parts === undefined) {
    return wanted.map((each) => ({
      title: headingOf(name, each),
      unit: unitOf(each),
      rows: rowsOf(section, [each], sides),
    }));
  }
  const whats = [...new Set(wanted.map((each) => each.split(': ')[0] ?? each))];
  return whats.map((what) => ({
    title: what,
    unit: unitOf(wanted.find((each) => each.startsWith(`${what}: `)) ?? what),
    rows: rowsOf(
      section,
      parts.map((part) => `${what}: ${part}`),
      sides,
    ),
  }));
}

/** `near` and `contention` name their cases by numbers. */
function headingOf(suite: string, name: string): string {
  if (suite === 'near') return name === '1' ? '1 reader' : `${name} readers`;
  if (suite === 'getMany') return `getMany of ${name}`;
  return suite === 'contention'
    ? name.replace(/ (\d+)$/, ', $1 callers').replace(', 1 callers', ', 1 caller')
    : name;
}

function rowsOf(section: Section, cases: readonly string[], sides?: readonly string[]): Row[] {
  const one = cases.length === 1 ? cases[0] : undefined;
  const of = (kind: Row['kind'], all: Section['peers']): Row[] =>
    Object.entries(all)
      .filter(([side, figures]) => (sides?.includes(side) ?? true) && cases.some((each) => each in figures))
      .map(([side, figures]) => {
        const ratio = one === undefined ? undefined : section.ratio[side]?.[one];
        const values = cases.map((each) => figures[each] ?? 0);
        return { label: side, kind, values, ...(ratio !== undefined && { ratio }) };
      });
  return [
    { label: 'Lockstep', kind: 'ours', values: cases.map((each) => section.ours[each] ?? 0) },
    ...of('peer', section.peers),
    ...of('limit', section.limit),
  ];
}

const GROWN: Readonly<Record<string, string>> = {
  'application: rss': 'application, resident',
  'application: heap': 'application, heap',
  'cache: bytes': 'Redis of the cache',
  'worker: rss': 'worker, resident',
  'worker: heap': 'worker, heap',
  'queue: bytes': 'Redis of the queue',
  'outbox: bytes': 'outbox',
  'tombstones: bytes': 'tombstones',
  'table: bytes': 'the table itself',
};

function growthChart({ samples }: GrowthResult): string {
  const panels = Object.entries(GROWN).flatMap(([name, title]) => {
    const points = samples.flatMap(({ held, minute }) => {
      const value = held[name];
      return value === undefined ? [] : [[minute, value] as const];
    });
    return points.length === 0 ? [] : [{ title, unit: 'bytes', points }];
  });
  return lineChart({ title: 'An hour under a steady, small load', unit: 'minutes', panels });
}
