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
  const consumer = join(folder, 'consumer');
  mkdirSync(consumer);
  const tarballs = packages.map(({ packed, tarball }) => [packed.name, `file:${tarball}`] as const);
  const peers = packages.flatMap(({ packed }) => Object.entries(packed.peerDependencies ?? {}));
  const { devDependencies } = readJson<{ devDependencies: Record<string, string> }>(
    join(ROOT, 'package.json'),
  );
  writeFileSync(
    join(consumer, 'package.json'),
    JSON.stringify({
      name: 'consumer',
      private: true,
      type: 'module',
      dependencies: Object.fromEntries([...peers, ...tarballs]),
      devDependencies: { '@types/node': devDependencies['@types/node'] },
    }),
  );
  writeFileSync(
    join(consumer, 'pnpm-workspace.yaml'),
    [
      'hoist: false',
      'autoInstallPeers: false',
      'strictPeerDependencies: true',
      'strictDepBuilds: false',
      'overrides:',
      ...tarballs.map(([name, file]) => `  ${JSON.stringify(name)}: ${JSON.stringify(file)}`),
    ].join('\n'),
  );
  await must('pnpm', ['install', '--prefer-offline', '--no-frozen-lockfile'], { cwd: consumer });
  return consumer;
}
