import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { InvalidOptionError, messageOf } from '@lockstep/core';
import detectIndent from 'detect-indent';
import { type AgentName, detect, getUserAgent } from 'package-manager-detector';
import { workspaceOf } from './workspace.js';

export const MANAGERS = ['npm', 'pnpm', 'yarn', 'bun'] as const;

export type Manager = (typeof MANAGERS)[number];

export interface PackageJson {
  name?: string;
  private?: boolean;
  type?: string;
  scripts?: Record<string, string>;
  dependencies?: Record<string, string>;
  devDependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
}

/** A folder, as far as it decides what is written into it. */
export interface Project {
  readonly folder: string;
  readonly manager: Manager;
  /** As `resolveCommand` knows it, e.g. `yarn@berry`. */
  readonly agent: string;
  /** A new one where there is none yet. */
  readonly packageJson: PackageJson;
  readonly isNew: boolean;
  readonly indent: string;
  readonly isModule: boolean;
  readonly isTypeScript: boolean;
  /** Whose test files a file `*.test.ts` would be taken for. */
  readonly testRunner: 'node' | 'vitest' | 'other';
  /** Whose migrations the project has. */
  readonly migrations: 'prisma' | 'drizzle' | undefined;
}

/** What the user says of it; the rest is looked at. */
export interface ProjectFlags {
  readonly language?: 'ts' | 'js';
  readonly packageManager?: Manager;
}

export async function projectIn(path: string, flags: ProjectFlags): Promise<Project> {
  const folder = resolve(path);
  const file = join(folder, 'package.json');
  const isNew = !existsSync(file);
  const text = isNew ? '' : readFileSync(file, 'utf8');
  const packageJson = isNew ? newPackageJson(folder) : parsed(text);
  const { dependencies, devDependencies } = packageJson;
  const has = (name: string): boolean => name in { ...dependencies, ...devDependencies };
  const hasFile = (name: string): boolean => existsSync(join(folder, name));
  const typed = isNew || has('typescript') || hasFile('tsconfig.json');
  const { agent, name } = await managerOf(folder, flags.packageManager);
  return {
    folder,
    manager: name,
    agent,
    packageJson,
    isNew,
    indent: detectIndent(text).indent || '  ',
    isModule: packageJson.type === 'module',
    isTypeScript: flags.language === undefined ? typed : flags.language === 'ts',
    testRunner: has('vitest') ? 'vitest' : ['jest', 'mocha', 'ava'].some(has) ? 'other' : 'node',
    migrations: hasFile('prisma') || has('prisma') ? 'prisma' : has('drizzle-orm') ? 'drizzle' : undefined,
  };
}

function newPackageJson(folder: string): PackageJson {
  const name = basename(folder)
    .toLowerCase()
    .replaceAll(/[^a-z0-9._-]+/g, '-')
    .replaceAll(/^[._-]+|-+$/g, '');
  return { name: name || 'app', private: true, type: 'module' };
}

function parsed(text: string): PackageJson {
  try {
    const found: unknown = JSON.parse(text);
    if (typeof found === 'object' && found !== null && !Array.isArray(found)) return found;
  } catch (error) {
    throw new InvalidOptionError('package.json', `is no JSON: ${messageOf(error)}`);
  }
  throw new InvalidOptionError('package.json', 'holds no object');
}

/**
 * The flag's; else the project's, by lockfile or `packageManager`, also of a workspace above; else who started this. Of an
 * empty folder nothing above it but a workspace decides: a stray lockfile there is somebody else's.
 */
async function managerOf(
  folder: string,
  flag: Manager | undefined,
): Promise<{ readonly name: Manager; readonly agent: string }> {
  if (flag !== undefined) return { name: flag, agent: flag };
  const workspace = workspaceOf(folder);
  const found = isEmpty(folder)
    ? workspace && (await detect({ cwd: workspace.folder, stopDir: workspace.folder }))
    : await detect({ cwd: folder });
  const name = found?.name ?? workspace?.manager ?? getUserAgent() ?? 'npm';
  if (isKnown(name)) return { name, agent: found?.agent ?? name };
  throw new InvalidOptionError('--package-manager', `must be given: the project has ${name}`);
}

function isEmpty(folder: string): boolean {
  return !existsSync(folder) || readdirSync(folder).length === 0;
}

function isKnown(name: AgentName): name is Manager {
  return (MANAGERS as readonly string[]).includes(name);
}
