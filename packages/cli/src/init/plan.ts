import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { configFile } from './files/config.js';
import { exampleFile, testFile } from './files/example.js';
import type { Layout } from './files/layout.js';
import { composeFile, knexFile, migrationFile, tsconfigFile } from './files/services.js';
import type { Dependencies } from './packages.js';
import { pnpmSettings } from './pnpm.js';
import type { PackageJson } from './project.js';

/** A file, and what is there already. `edit`: one that keeps all that it has. */
export interface PlannedFile {
  readonly path: string;
  readonly text: string;
  readonly state: 'create' | 'edit' | 'same' | 'differs';
}

export interface Plan {
  readonly files: readonly PlannedFile[];
  /** By their names in package.json: a name that is taken has `lockstep:` before it. */
  readonly scripts: Readonly<Record<string, string>>;
  readonly packages: Dependencies;
}

/** npm's own beginning, which nobody runs. */
const NO_TEST = /no test specified/;

/** What would be written. Reads, and writes nothing. */
export function planOf(layout: Layout, packages: Dependencies): Plan {
  const { project } = layout;
  const { named, scripts } = scriptsOf(layout);
  const packageJson = packageJsonOf(layout, packages, scripts);
  const texts: [string, string | undefined][] = [
    [layout.config, configFile(layout)],
    [layout.compose, layout.hasServices ? composeFile(layout) : undefined],
    [layout.knexfile, layout.hasKnexMigration ? knexFile() : undefined],
    [layout.migration, layout.hasKnexMigration ? migrationFile(layout) : undefined],
    [layout.example, exampleFile(layout)],
    [layout.test, testFile(layout)],
    ['tsconfig.json', project.isNew && layout.isTypeScript ? tsconfigFile() : undefined],
    ['.gitignore', project.isNew ? 'node_modules/\n' : undefined],
    // Yarn before 2 ignores it; later ones leave no node_modules otherwise, in which npx and editors look.
    ['.yarnrc.yml', project.isNew && project.manager === 'yarn' ? 'nodeLinker: node-modules\n' : undefined],
  ];
  const files = texts.flatMap(([path, text]) =>
    text === undefined ? [] : [{ path, text, state: stateOf(join(project.folder, path), text) } as const],
  );
  const settings = project.manager === 'pnpm' ? pnpmSettings(project.folder) : undefined;
  const edited = [{ path: 'package.json', text: packageJson }, ...(settings === undefined ? [] : [settings])];
  return {
    files: [
      ...edited.map(({ path, text }) => {
        const state = stateOf(join(project.folder, path), text);
        return { path, text, state: state === 'differs' ? 'edit' : state } as const;
      }),
      ...files,
    ],
    scripts: named,
    packages,
  };
}

export function writeFiles(folder: string, files: readonly PlannedFile[]): void {
  for (const { path, text } of files) {
    const file = join(folder, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
}

function stateOf(file: string, text: string): PlannedFile['state'] {
  if (!existsSync(file)) return 'create';
  return readFileSync(file, 'utf8') === text ? 'same' : 'differs';
}

/** Each under its own name, or one with `lockstep:` where the project has another script of that name. */
function scriptsOf(layout: Layout): {
  readonly named: Record<string, string>;
  readonly scripts: Record<string, string>;
} {
  const { choices, hasKnexMigration, node, project, test } = layout;
  const migrate = [
    hasKnexMigration && `knex migrate:latest --knexfile ${layout.knexfile}`,
    (choices.store === 'mongo' || choices.store === 'both') && 'lockstep attach',
  ].filter(Boolean);
  const wanted: Record<string, string> = {
    ...(layout.hasServices ? { services: `docker compose -f ${layout.compose} up -d --wait` } : {}),
    ...(migrate.length > 0 ? { migrate: migrate.join(' && ') } : {}),
    ...(layout.hasWorker ? { worker: 'lockstep worker' } : {}),
    start: `${node} ${layout.example}`,
    test: project.testRunner === 'vitest' ? `vitest run ${test}` : `${node} --test ${test}`,
  };
  const present = project.packageJson.scripts ?? {};
  const scripts = { ...present };
  const named: Record<string, string> = {};
  for (const [name, command] of Object.entries(wanted)) {
    const there = present[name];
    const isFree = there === undefined || there === command || (name === 'test' && NO_TEST.test(there));
    const used = isFree ? name : `lockstep:${name}`;
    scripts[used] = command;
    named[name] = used;
  }
  return { named, scripts };
}

function packageJsonOf(
  { project }: Layout,
  packages: Dependencies,
  scripts: Readonly<Record<string, string>>,
): string {
  const { indent, packageJson } = project;
  const next: PackageJson = { ...packageJson, scripts };
  for (const group of ['dependencies', 'devDependencies', 'optionalDependencies'] as const) {
    const added = packages[group] ?? {};
    if (Object.keys(added).length === 0) continue;
    const all = Object.entries({ ...packageJson[group], ...added });
    next[group] = Object.fromEntries(all.sort(([a], [b]) => (a < b ? -1 : 1)));
  }
  return `${JSON.stringify(next, null, indent)}\n`;
}
