import { median } from '../bursts/turn.js';
import type { Kind } from './side.js';

/** One figure of a suite, in turns of all sides. */
export interface CaseResult {
  readonly unit: string;
  readonly better: 'more' | 'less';
  /** Medians of the turns. */
  readonly ours: number;
  readonly peers: Readonly<Record<string, number>>;
  /** What nobody can beat: the bare client. Absent where there is nothing to compare with. */
  readonly limit?: Readonly<Record<string, number>>;
  /** Ours ÷ each other side, medians of the turns' own ratios; none where the other side's figures are 0. */
  readonly ratio: Readonly<Record<string, number>>;
  /** The lowest and the highest turn of each side. */
  readonly spread: Readonly<Record<string, readonly [number, number]>>;
}

/** The figures of each side's turns, the sides in the same order of turns. */
export function caseOf(
  unit: string,
  better: 'more' | 'less',
  turns: Readonly<Record<string, { readonly kind: Kind; readonly figures: readonly number[] }>>,
): CaseResult {
  const own = Object.values(turns).find(({ kind }) => kind === 'ours');
  if (own === undefined) throw new Error('no side is ours');
  const of = (wanted: Kind) =>
    Object.fromEntries(
      Object.entries(turns)
        .filter(([, { kind }]) => kind === wanted)
        .map(([name, { figures }]) => [name, median(figures)]),
    );
  const others = Object.entries(turns).filter(([, { kind }]) => kind !== 'ours');
  const limit = of('limit');
  return {
    unit,
    better,
    ours: median(own.figures),
    peers: of('peer'),
    ...(Object.keys(limit).length > 0 && { limit }),
    ratio: Object.fromEntries(
      others.flatMap(([name, { figures }]) => {
        const ratios = own.figures
          .map((figure, i) => figure / (figures[i] ?? Number.NaN))
          .filter(Number.isFinite);
        return ratios.length === 0 ? [] : [[name, median(ratios)]];
      }),
    ),
    spread: Object.fromEntries(
      Object.entries(turns).map(([name, { figures }]) => [
        name,
        [Math.min(...figures), Math.max(...figures)],
      ]),
    ),
  };
}

/** One line of a table for each side. */
export function tableOf(title: string, { better, limit = {}, ours, peers, ratio, unit }: CaseResult): string {
  const number = (value: number) =>
    value >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(3);
  const line = (name: string, value: number) => {
    const beside = ratio[name] === undefined ? '' : `  ours ÷ it ${ratio[name].toFixed(2)}`;
    return `  ${name.padEnd(20)} ${number(value).padStart(12)} ${unit}${beside}`;
  };
  return [
    `${title} (${better} is better)`,
    line('lockstep', ours),
    ...Object.entries({ ...peers, ...limit }).map(([name, value]) => line(name, value)),
  ].join('\n');
}
