import { globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The repository's top folder. */
export const ROOT = join(import.meta.dirname, '..', '..');

/** The part of a package.json that the scripts read. */
export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly private?: boolean;
  readonly packageManager?: string;
  readonly scripts?: Readonly<Record<string, string>>;
  readonly bin?: Readonly<Record<string, string>>;
  readonly exports?: Readonly<Record<string, unknown>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

export interface WorkspacePackage {
  /** Relative to the repository: `packages/core`. */
  readonly folder: string;
  readonly path: string;
  readonly manifest: Manifest;
}

export function readJson<T>(path: string): T {
  const parsed: T = JSON.parse(readFileSync(path, 'utf8'));
  return parsed;
}

/** All packages of the workspace, in the order of their folders. */
export function workspacePackages(root = ROOT): WorkspacePackage[] {
  return globSync(['packages/*/package.json', 'apps/*/package.json'], { cwd: root })
    .sort()
    .map((file) => ({
      folder: dirname(file),
      path: join(root, dirname(file)),
      manifest: readJson<Manifest>(join(root, file)),
    }));
}

/** Those that are published. */
export function publicPackages(root = ROOT): WorkspacePackage[] {
  return workspacePackages(root).filter(({ manifest }) => manifest.private !== true);
}
