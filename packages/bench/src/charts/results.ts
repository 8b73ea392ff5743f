import { readFileSync } from 'node:fs';
import type { Figures, Section } from '../all.js';
import { median } from '../bursts/turn.js';
import type { Machine } from '../cli/machine.js';
import type { GrowthResult } from '../fleet/growth.js';

/** What several runs have in common: medians of their figures. */
export interface Results {
  readonly runs: number;
  readonly sections: Readonly<Record<string, Section>>;
  readonly growth?: GrowthResult;
  /** Of the last of them that has sections. */
  readonly machine?: Partial<Machine>;
}

/** Reads results that `--json` wrote. Throws an error that names the file which is none. */
export function readResults(files: readonly string[]): Results {
  const runs = files.map(read);
  const names = [...new Set(runs.flatMap((run) => Object.keys(run)))];
  const sections = Object.fromEntries(
    names.flatMap((name) => {
      const found = runs.map((run) => run[name]).filter(isSection);
      return found.length === 0 ? [] : [[name, merged(found)]];
    }),
  );
  const growth = runs.map((run) => run['growth']).findLast(isGrowth);
  if (Object.keys(sections).length === 0 && growth === undefined) {
    throw new Error(
      `${files.join(', ')}: no suite with ours, peers, limit and ratio, and no growth: write it with bench --json`,
    );
  }
  const machine = runs.findLast((run) => Object.values(run).some(isSection))?.['machine'] as
    | Partial<Machine>
    | undefined;
  const count = Math.max(1, ...names.map((name) => runs.filter((run) => isSection(run[name])).length));
  return {
    runs: count,
    sections,
    ...(growth !== undefined && { growth }),
    ...(machine !== undefined && { machine }),
  };
}

function read(file: string): Readonly<Record<string, unknown>> {
  let found: unknown;
  try {
    found = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new Error(`${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (typeof found === 'object' && found !== null) return found as Readonly<Record<string, unknown>>;
  throw new Error(`${file}: no result of a benchmark`);
}

function isSection(value: unknown): value is Section {
  return (
    typeof value === 'object' &&
    value !== null &&
    ['ours', 'peers', 'limit', 'ratio'].every((key) => key in value)
  );
}

function isGrowth(value: unknown): value is GrowthResult {
  return typeof value === 'object' && value !== null && 'samples' in value && 'perHour' in value;
}

function merged(sections: readonly Section[]): Section {
  const bySide = (of: (section: Section) => Readonly<Record<string, Figures>>) =>
    Object.fromEntries(
      keysOf(sections.map(of)).map((side) => [
        side,
        medians(sections.map((section) => of(section)[side] ?? {})),
      ]),
    );
  return {
    ours: medians(sections.map(({ ours }) => ours)),
    peers: bySide(({ peers }) => peers),
    limit: bySide(({ limit }) => limit),
    ratio: bySide(({ ratio }) => ratio),
    unit: Object.assign({}, ...sections.map(({ unit }) => unit)) as Record<string, string>,
  };
}

function medians(runs: readonly Figures[]): Figures {
  return Object.fromEntries(
    keysOf(runs).map((name) => [
      name,
      median(runs.map((run) => run[name]).filter((figure) => typeof figure === 'number')),
    ]),
  );
}

function keysOf(objects: readonly object[]): string[] {
  return [...new Set(objects.flatMap((object) => Object.keys(object)))];
}
