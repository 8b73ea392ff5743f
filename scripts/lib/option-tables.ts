/**
 * The tables of options in the documentation. Names, defaults and ranges come from the table that checks the options;
 * meanings from the comments of the interface, whose `@defaultValue` must agree.
 */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './repository.ts';

/** What is needed of an `Option` of `@lockstep/core/kit`. */
interface Option {
  readonly fallback: unknown;
  readonly required?: boolean;
  readonly range: string;
  readonly bounds?: { readonly min: number; readonly max: number };
  readonly table?: OptionTable;
}

type OptionTable = Readonly<Record<string, Option>>;

/** An interface of options, and what checks it. */
export interface OptionsSource {
  readonly folder: string;
  readonly interface: string;
  /** In the package's `dist`. */
  readonly module: string;
  readonly table: string;
}

interface Member {
  readonly about: string;
  /** What `@defaultValue` says. */
  readonly fallback: string | undefined;
  readonly type: string;
}

const SECOND = 1_000;
const HOUR = 3_600 * SECOND;
const DAY = 24 * HOUR;
const UNITS = {
  Ms: [
    [365 * DAY, 'year', 'years'],
    [DAY, 'day', 'days'],
    [HOUR, 'h'],
    [60 * SECOND, 'min'],
    [SECOND, 's'],
    [1, 'ms'],
  ],
  Bytes: [
    [2 ** 40, 'TiB'],
    [2 ** 30, 'GiB'],
    [2 ** 20, 'MiB'],
    [2 ** 10, 'KiB'],
    [1, 'byte', 'bytes'],
  ],
} as const;

/** A page with its tables as they should be: each stands below `<!-- options: NAME -->`, up to an empty line. */
export async function withOptionTables(
  text: string,
  sources: readonly OptionsSource[],
): Promise<{ readonly text: string; readonly problems: readonly string[] }> {
  const problems: string[] = [];
  const parts = text.split(/(<!-- options: \w+ -->\n\n)(?:\|.*\n)*/);
  for (let i = 1; i < parts.length; i += 2) {
    const [, name] = /options: (\w+)/.exec(parts[i] ?? '') ?? [];
    const source = sources.find((each) => each.interface === name);
    if (source === undefined) problems.push(`there are no options ${name}`);
    else parts[i] += await tableOf(source, problems);
    if (!parts[i + 1]?.startsWith('\n')) parts[i] += '\n';
  }
  return { text: parts.join(''), problems };
}

async function tableOf(source: OptionsSource, problems: string[]): Promise<string> {
  const module = await import(join(ROOT, source.folder, 'dist', source.module));
  const interfaces = interfacesOf(source.folder);
  const rows = rowsOf(source.interface, module[source.table], interfaces, '', problems);
  return formatted([['option', 'default', 'range', 'meaning'], ...rows]);
}

function rowsOf(
  name: string,
  table: OptionTable,
  interfaces: ReadonlyMap<string, ReadonlyMap<string, Member>>,
  path: string,
  problems: string[],
): string[][] {
  const members = interfaces.get(name);
  if (members === undefined) {
    problems.push(`there is no interface ${name}`);
    return [];
  }
  return Object.entries(table).flatMap(([key, option]) => {
    const member = members.get(key);
    if (member === undefined || member.about === '') problems.push(`${name}.${key} has no comment`);
    const given = member?.fallback;
    if (!agrees(given, option.fallback)) {
      problems.push(`${name}.${key}: the default is ${String(option.fallback)}, its comment says ${given}`);
    }
    const own =
      option.table === undefined
        ? []
        : rowsOf(member?.type ?? '', option.table, interfaces, `${path}${key}.`, problems);
    // A group without a meaning of its own is its options.
    if (own.length > 0 && typeof option.fallback === 'object') return own;
    const row = [
      `\`${path}${key}\``,
      fallbackOf(key, option, given),
      rangeOf(key, option),
      member?.about ?? '',
    ];
    return [row, ...own];
  });
}

function agrees(given: string | undefined, fallback: unknown): boolean {
  if (typeof fallback === 'number')
    return Number(/^[\d_.]+/.exec(given ?? '')?.[0].replaceAll('_', '')) === fallback;
  if (typeof fallback === 'boolean') return given === String(fallback);
  if (typeof fallback === 'string') return given === `'${fallback}'`;
  return true;
}

function fallbackOf(key: string, { fallback, required }: Option, given: string | undefined): string {
  if (required) return '–';
  if (typeof fallback === 'number') return quantity(key, fallback);
  if (typeof fallback === 'string' || typeof fallback === 'boolean') return `\`${fallback}\``;
  return given ?? 'none';
}

function rangeOf(key: string, { bounds, range, table }: Option): string {
  if (bounds?.max === Number.MAX_SAFE_INTEGER) return `${quantity(key, bounds.min)} or more`;
  if (bounds !== undefined) return `${quantity(key, bounds.min)} to ${quantity(key, bounds.max)}`;
  if (table !== undefined) return 'options';
  const [, choices] = /^one of (.*)$/.exec(range) ?? [];
  const words = choices?.split(', ') ?? (range === 'true or false' ? ['true', 'false'] : undefined);
  return words === undefined ? range : words.map((word) => `\`${word}\``).join(', ');
}

function quantity(key: string, count: number): string {
  const units = key.endsWith('Ms') ? UNITS.Ms : key.endsWith('Bytes') ? UNITS.Bytes : [];
  const unit = units.find(([size]) => count >= size && count % size === 0);
  if (unit === undefined) return count.toLocaleString('en-US');
  const [size, one, many = one] = unit;
  return `${(count / size).toLocaleString('en-US')} ${count === size ? one : many}`;
}

/** The members of a package's exported interfaces, inherited ones included. */
function interfacesOf(folder: string): ReadonlyMap<string, ReadonlyMap<string, Member>> {
  const files = globSync('src/**/*.ts', { cwd: join(ROOT, folder) });
  const text = files.map((file) => readFileSync(join(ROOT, folder, file), 'utf8')).join('\n');
  const interfaces = new Map<string, Map<string, Member>>();
  const parents = new Map<string, string[]>();
  for (const [, name = '', bases, body = ''] of text.matchAll(
    /^export interface (\w+)(?:<[^{]*?>)?(?: extends ([^{]*?))? \{\n([\s\S]*?)^\}/gm,
  )) {
    interfaces.set(name, membersOf(body));
    parents.set(name, bases?.match(/\w+/g) ?? []);
  }
  const inherit = (name: string): [string, Member][] => [
    ...(parents.get(name) ?? []).flatMap(inherit),
    ...(interfaces.get(name) ?? []),
  ];
  return new Map([...interfaces.keys()].map((name) => [name, new Map(inherit(name))]));
}

function membersOf(body: string): Map<string, Member> {
  const members = new Map<string, Member>();
  for (const [, comment = '', name = '', type = ''] of body.matchAll(
    /(?: {2}\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\n)? {2}readonly (\w+)\??: *(\w*)/g,
  )) {
    // The columns of defaults and ranges name the units.
    const text = comment
      .replaceAll(/\s*\n *\* ?/g, ' ')
      .replaceAll(/, in (?:ms|bytes)\b,?/g, '')
      .trim();
    const [about = '', fallback] = text.split(/\s*@defaultValue\s*/);
    members.set(name, { about: about.replace(/\.$/, ''), fallback, type });
  }
  return members;
}

/** A Markdown table with columns of even width. */
function formatted(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => (row[i] ?? '').length)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, i) => cell.replaceAll('|', '\\|').padEnd(widths[i] ?? 0)).join(' | ')} |\n`;
  const [head = [], ...body] = rows;
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...body.map(line)].join('');
}
