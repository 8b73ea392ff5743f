import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { confirm, isCancel } from '@clack/prompts';
import { InvalidOptionError } from '@lockstep/core';
import { Command, Option } from 'commander';
import { CACHES, type Choices, choicesOf, QUEUES, STORES } from '../init/choices.js';
import { layoutOf } from '../init/files/layout.js';
import { install, installCommand } from '../init/install.js';
import { nextSteps } from '../init/next-steps.js';
import { missingPackages } from '../init/packages.js';
import { type Plan, type PlannedFile, planOf, writeFiles } from '../init/plan.js';
import { MANAGERS, type Project, type ProjectFlags, projectIn } from '../init/project.js';
import { output, table } from '../output.js';
import { PACKAGE } from '../package.js';
import type { CommonFlags } from '../session.js';

interface Flags extends Partial<Choices>, ProjectFlags {
  readonly install: boolean;
  readonly yes: boolean;
  readonly force: boolean;
  readonly dryRun: boolean;
}

/** Node.js that the packages run on. */
const NEEDED = 22;
/** Of the one that a project gets whose own is older. */
const GIVEN = '24.0.0';

const SAYS: { readonly [State in PlannedFile['state']]: string } = {
  create: 'create',
  edit: 'add to',
  same: 'is there',
  differs: 'replace',
};

export function initCommand(): Command {
  return new Command('init')
    .description(
      'sets a project up: packages, configuration, migration, services, worker, an example and its test',
    )
    .argument('[folder]', 'of the project; made where there is none', '.')
    .addOption(new Option('--store <name>', 'where the rows are').choices(STORES))
    .addOption(new Option('--cache <name>', 'where the cache is').choices(CACHES))
    .addOption(new Option('--queue <name>', 'where failed invalidations wait').choices(QUEUES))
    .addOption(new Option('--language <name>', "of the files (default: the project's)").choices(['ts', 'js']))
    .addOption(
      new Option('--package-manager <name>', 'what installs (default: by lockfile)').choices(MANAGERS),
    )
    .option('--no-install', 'write the files only')
    .option('--yes', 'do not ask: the usual answers, and no file is replaced', false)
    .option('--force', 'replace files that are there and differ', false)
    .option('--dry-run', 'say what would be done, and do nothing', false)
    .action(async (folder: string, flags: Flags, command: Command) => {
      const { json = false } = command.optsWithGlobals<CommonFlags>();
      const choices = await choicesOf(flags, flags.yes);
      if (choices === undefined) return;
      const project = await projectIn(folder, flags);
      const ownNode = Number(process.env['LOCKSTEP_INIT_NODE'] ?? NEEDED);
      const isOld = ownNode < NEEDED;
      if (isOld && project.manager === 'yarn') {
        const says = `yarn runs scripts on the Node.js that runs yarn, which needs ${NEEDED} or later (it is ${ownNode})`;
        throw new InvalidOptionError('--package-manager', says);
      }
      const layout = layoutOf(choices, project, isOld ? GIVEN : process.versions.node);
      const packages = missingPackages(choices, project, PACKAGE.version, isOld);
      const plan = planOf(layout, packages);
      const { result } = output(json);
      const report = (done: readonly PlannedFile[], kept: readonly string[], installs: boolean): void => {
        const next = nextSteps(layout, plan, installs);
        result(
          {
            folder: project.folder,
            packageManager: project.manager,
            ...choices,
            dryRun: flags.dryRun,
            files: plan.files.map(({ path, state }) => ({
              path,
              state,
              written: done.some((each) => each.path === path),
            })),
            packages,
            installed: installs && !flags.dryRun,
            next,
          },
          [
            ...listed(plan, kept, flags.dryRun),
            ...packageLines(plan, project, installs, flags.dryRun),
            '',
            ...next,
          ],
        );
      };
      const installs = flags.install && needsInstall(plan, project);
      if (flags.dryRun) return report([], flags.force ? [] : differing(plan), installs);
      const { kept, written } = await accepted(plan, flags);
      mkdirSync(project.folder, { recursive: true });
      writeFiles(project.folder, written);
      if (installs) await install(project);
      report(written, kept, installs);
    });
}

function differing({ files }: Plan): string[] {
  return files.flatMap(({ path, state }) => (state === 'differs' ? [path] : []));
}

/** Something is missing in package.json, or it was never installed. */
function needsInstall({ packages }: Plan, { folder }: Project): boolean {
  const missing = Object.values(packages).some((group) => Object.keys(group ?? {}).length > 0);
  return missing || !(existsSync(join(folder, 'node_modules')) || existsSync(join(folder, '.pnp.cjs')));
}

/** Those to write; a file that is there and differs only where the user says so. */
async function accepted(
  { files }: Plan,
  { force, yes }: Flags,
): Promise<{ readonly written: readonly PlannedFile[]; readonly kept: readonly string[] }> {
  const written: PlannedFile[] = [];
  const kept: string[] = [];
  for (const file of files) {
    if (file.state === 'same') continue;
    if (file.state !== 'differs' || force || (!yes && (await replaces(file.path)))) written.push(file);
    else kept.push(file.path);
  }
  return { kept, written };
}

async function replaces(path: string): Promise<boolean> {
  if (!process.stdin.isTTY) return false;
  const answer = await confirm({ message: `${path} is there and differs. Replace it?`, initialValue: false });
  return !isCancel(answer) && answer;
}

function listed({ files }: Plan, kept: readonly string[], isDry: boolean): string[] {
  const rows = files.map(({ path, state }) => {
    if (kept.includes(path)) return ['keep', path, 'differs; --force replaces it'];
    const word = SAYS[state];
    return [isDry && state !== 'same' ? `would ${word}` : word, path, ''];
  });
  return table(rows);
}

function packageLines({ packages }: Plan, project: Project, installs: boolean, isDry: boolean): string[] {
  const names = Object.values(packages).flatMap((group) => Object.keys(group ?? {}));
  const added = names.length === 0 ? [] : [`packages: ${names.join(', ')}`];
  const command = installCommand(project).join(' ');
  return installs ? [...added, isDry ? `would run ${command}` : `ran ${command}`] : added;
}
