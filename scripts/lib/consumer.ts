import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { must } from './execute.ts';
import type { PackedPackage } from './pack.ts';
import { ROOT, readJson } from './repository.ts';

/** What a module specifier of the package looks like: `@lockstep/core`, `@lockstep/core/memory`. */
export function specifiers({ packed }: PackedPackage): string[] {
  return Object.keys(packed.exports ?? {})
    .filter((path) => path !== './package.json')
    .map((path) => packed.name + path.slice(1));
}

/**
 * A project like a user's, with all packages from their tarballs and their peers from the registry (or the
 * store). Nothing is hoisted, so that a package finds what it declares and nothing else.
 */
export async function installConsumer(folder: string, packages: readonly PackedPackage[]): Promise<string> {
  const peers = packages.flatMap(({ packed }) => Object.entries(packed.peerDependencies ?? {}));
  const names = packages.map(({ packed }) => packed.name);
  return await installProject(folder, 'consumer', packages, names, Object.fromEntries(peers));
}

/** A project with the packages of these names and what else it is given; no peer comes by itself. */
export async function installProject(
  folder: string,
  project: string,
  packages: readonly PackedPackage[],
  names: readonly string[],
  others: Readonly<Record<string, string>> = {},
): Promise<string> {
  const path = join(folder, project);
  mkdirSync(path);
  const tarballs = packages.map(({ packed, tarball }) => [packed.name, `file:${tarball}`] as const);
  const { devDependencies } = readJson<{ devDependencies: Record<string, string> }>(
    join(ROOT, 'package.json'),
  );
  writeFileSync(
    join(path, 'package.json'),
    JSON.stringify({
      name: project,
      private: true,
      type: 'module',
      dependencies: { ...others, ...Object.fromEntries(tarballs.filter(([name]) => names.includes(name))) },
      devDependencies: { '@types/node': devDependencies['@types/node'] },
    }),
  );
  writeFileSync(
    join(path, 'pnpm-workspace.yaml'),
    [
      'hoist: false',
      'autoInstallPeers: false',
      'strictPeerDependencies: true',
      'strictDepBuilds: false',
      'overrides:',
      ...tarballs.map(([name, file]) => `  ${JSON.stringify(name)}: ${JSON.stringify(file)}`),
    ].join('\n'),
  );
  await must('pnpm', ['install', '--prefer-offline', '--no-frozen-lockfile'], { cwd: path });
  return path;
}
