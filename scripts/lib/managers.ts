import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { must } from './execute.ts';
import type { Registry } from './verdaccio.ts';

/** A package manager, and what a person types with it. */
export interface Manager {
  /** From the registry; the first brings the command. Empty: npm, which Node.js brings. */
  readonly packages: readonly string[];
  /** Runs a package's command without installing it. */
  readonly once: string;
  /** Runs a command of the project's packages. */
  readonly local: string;
  /** Of a package.json. */
  readonly script: string;
  /** What stands between a script's name and its arguments. */
  readonly separator: string;
  /** What init has to be told, where `once` is another manager's. */
  readonly flags: string;
  /** True: it runs scripts on the Node.js that runs it, which must be one that Lockstep runs on. */
  readonly needsNode: boolean;
}

const of = (command: string, given: Partial<Manager>): Manager => ({
  packages: [],
  once: `${command} dlx`,
  local: `${command} exec`,
  script: `${command} run`,
  separator: '',
  flags: '',
  needsNode: false,
  ...given,
});

export const MANAGERS: Readonly<Record<string, Manager>> = {
  npm: of('npm', { once: 'npx --yes', local: 'npx', separator: ' --' }),
  pnpm: of('pnpm', { packages: ['pnpm@12'] }),
  // It has no `dlx`.
  yarn1: of('yarn', {
    packages: ['yarn@1'],
    once: 'npx --yes',
    local: 'yarn run',
    flags: ' --package-manager yarn',
    needsNode: true,
  }),
  yarn: of('yarn', { packages: ['@yarnpkg/cli-dist@4'], local: 'yarn run', needsNode: true }),
  bun: of('bun', { packages: ['bun@1'], once: 'bun x', local: 'bun x' }),
};

/** Installs the manager into a folder of its own. Resolves to the folders of commands that it needs, for PATH. */
export async function installManager({ needsNode, packages }: Manager, folder: string): Promise<string[]> {
  const node = needsNode ? [dirname(process.execPath)] : [];
  if (packages.length === 0) return node;
  mkdirSync(folder);
  await must('npm', ['install', '--prefix', folder, '--no-audit', '--no-fund', ...packages]);
  return [join(folder, 'node_modules', '.bin'), ...node];
}

/** Writes into a home what each manager reads there: our packages from the one registry, all others from the other. */
export function writeRegistries(home: string, { authority, token, url }: Registry, others: string): void {
  const npm = [`registry=${others}`, `@lockstep:registry=${url}`, `${authority}:_authToken=${token}`];
  const yarn = [
    `npmRegistryServer: "${others}"`,
    `npmScopes: { lockstep: { npmRegistryServer: "${url}" } }`,
    'unsafeHttpWhitelist: ["*"]',
    'enableTelemetry: false',
    // What was published a moment ago.
    'npmMinimalAgeGate: 0',
    'npmPreapprovedPackages: ["@lockstep/*"]',
  ];
  const bun = ['[install]', `registry = "${others}"`, '[install.scopes]', `lockstep = "${url}"`];
  const pnpm = ['minimumReleaseAge: 0'];
  const folder = join(home, '.config', 'pnpm');
  mkdirSync(folder, { recursive: true });
  for (const [file, lines] of [
    [join(home, '.npmrc'), npm],
    [join(home, '.yarnrc.yml'), yarn],
    [join(home, '.bunfig.toml'), bun],
    [join(folder, 'config.yaml'), pnpm],
  ] as const) {
    writeFileSync(file, `${lines.join('\n')}\n`);
  }
}
