import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { minimatch } from 'minimatch';
import { parse } from 'yaml';

export interface Workspace {
  readonly folder: string;
  /** Where its files alone say so. */
  readonly manager?: 'pnpm';
}

/** The workspace above the folder that counts it among its packages. */
export function workspaceOf(folder: string): Workspace | undefined {
  for (let at = dirname(folder); ; at = dirname(at)) {
    const path = relative(at, folder).split(sep).join('/');
    const pnpm = valueIn(join(at, 'pnpm-workspace.yaml'), 'packages');
    if (pnpm !== undefined && covers(pnpm, path)) return { folder: at, manager: 'pnpm' };
    const others = valueIn(join(at, 'package.json'), 'workspaces');
    if (others !== undefined && covers(others, path)) return { folder: at };
    if (at === dirname(at)) return undefined;
  }
}

/** Of a file in YAML, or in JSON, which is YAML; `undefined`: it is not there, or can't be read. */
function valueIn(file: string, name: string): unknown {
  if (!existsSync(file)) return undefined;
  try {
    return (parse(readFileSync(file, 'utf8')) as Readonly<Record<string, unknown>> | null)?.[name];
  } catch {
    return undefined;
  }
}

/** A list of patterns, the later ones of which may take something out, or an object that has it as `packages`. */
function covers(given: unknown, path: string): boolean {
  const list: unknown = Array.isArray(given) ? given : (given as { packages?: unknown } | null)?.packages;
  if (!Array.isArray(list)) return false;
  const patterns = list
    .filter((each) => typeof each === 'string')
    .map((each) => each.replace(/^\.\/|\/$/g, ''));
  const fits = (pattern: string): boolean => minimatch(path, pattern, { dot: true });
  const [out, within] = [
    patterns.filter((each) => each.startsWith('!')),
    patterns.filter((each) => !each.startsWith('!')),
  ];
  return within.some(fits) && !out.some((each) => fits(each.slice(1)));
}
