/**
 * `pnpm check:release`: a release from end to end, in a copy of the repository and to a registry of its own:
 * versions by changesets, publishes what is packed, installs it into a project and imports it there.
 */
import { cpSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { must } from './lib/execute.ts';
import { conclude, problem } from './lib/problems.ts';
import { publicPackages, ROOT } from './lib/repository.ts';
import { temporaryFolder } from './lib/temporary.ts';
import { build } from './lib/turbo.ts';
import { startRegistry } from './lib/verdaccio.ts';

/** Copies what git knows or would add, and what was built. */
async function copyRepository(folder: string): Promise<string> {
  const copy = join(folder, 'repository');
  const listed = await must('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard']);
  const built = publicPackages().map((source) => join(source.folder, 'dist'));
  for (const file of [...listed.split('\0').filter(Boolean), ...built]) {
    if (existsSync(join(ROOT, file))) cpSync(join(ROOT, file), join(copy, file), { recursive: true });
  }
  const author = ['-c', 'user.name=Rehearsal', '-c', 'user.email=rehearsal@localhost'];
  await must('git', ['init', '--quiet', '--initial-branch=main'], { cwd: copy });
  await must('git', ['add', '--all'], { cwd: copy });
  await must('git', [...author, 'commit', '--quiet', '--no-gpg-sign', '--message=Rehearsal'], { cwd: copy });
  await must('pnpm', ['install', '--prefer-offline', '--frozen-lockfile', '--ignore-scripts'], { cwd: copy });
  return copy;
}

/** Applies the pending changesets, or one made here when there are none. */
async function version(copy: string): Promise<void> {
  const folder = join(copy, '.changeset');
  const before = new Map(publicPackages(copy).map(({ manifest }) => [manifest.name, manifest.version]));
  if (!readdirSync(folder).some((file) => file.endsWith('.md') && file !== 'README.md')) {
    const [name = ''] = before.keys();
    writeFileSync(join(folder, 'rehearsal.md'), `---\n"${name}": patch\n---\n\nA rehearsal.\n`);
  }
  await must('pnpm', ['changeset', 'version'], { cwd: copy });
  const after = publicPackages(copy);
  if (new Set(after.map(({ manifest }) => manifest.version)).size !== 1)
    problem('versions differ in the group');
  for (const { manifest, path } of after) {
    if (manifest.version === before.get(manifest.name)) problem(`${manifest.name} kept its version`);
    if (!existsSync(join(path, 'CHANGELOG.md'))) problem(`${manifest.name} has no CHANGELOG.md`);
  }
}

async function install(folder: string, npmrc: string, names: readonly string[]): Promise<void> {
  const project = join(folder, 'project');
  mkdirSync(project);
  writeFileSync(join(project, 'package.json'), '{ "name": "project", "private": true, "type": "module" }\n');
  writeFileSync(join(project, 'pnpm-workspace.yaml'), 'strictDepBuilds: false\nminimumReleaseAge: 0\n');
  writeFileSync(join(project, '.npmrc'), npmrc);
  await must('pnpm', ['add', '--prefer-offline', ...names], { cwd: project });
  for (const name of names) {
    await must('node', ['--input-type=module', '--eval', `await import(${JSON.stringify(name)})`], {
      cwd: project,
    });
  }
}

if ((await build()) !== 0) process.exit(1);
const folder = temporaryFolder('release');
const copy = await copyRepository(folder);
await version(copy);
const registry = await startRegistry(folder);
try {
  const npmrc = `@lockstep:registry=${registry.url}\n${registry.authority}:_authToken=${registry.token}\n`;
  writeFileSync(join(copy, '.npmrc'), `registry=${registry.url}\n${npmrc}`);
  const output = await must('pnpm', ['changeset', 'publish'], {
    cwd: copy,
    env: { npm_config_registry: registry.url },
  });
  const names = publicPackages(copy).map(({ manifest }) => manifest.name);
  for (const name of names) {
    const { status } = await fetch(registry.url + name.replace('/', '%2f'));
    if (status !== 200) problem(`${name} is not in the registry: ${status}\n${output}`);
  }
  await install(folder, npmrc, ['@lockstep/core', '@lockstep/conformance']);
} finally {
  await registry.stop();
}
conclude('versioned, published, installed and imported');
