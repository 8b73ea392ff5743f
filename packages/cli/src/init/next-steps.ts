import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Layout } from './files/layout.js';
import { installCommand, scriptCommand, toolCommand } from './install.js';
import type { Plan } from './plan.js';

/** What is left to do, a line each, in order. */
export function nextSteps(layout: Layout, { scripts }: Plan, installs: boolean): string[] {
  const { project } = layout;
  const run = (name: string): string => scriptCommand(project, scripts[name] ?? name);
  const steps: [string, string][] = [
    ...(installs || existsSync(join(project.folder, 'node_modules'))
      ? []
      : [[installCommand(project).join(' '), 'the packages'] as [string, string]]),
    [run('test'), 'a test without servers: your own can look like it'],
    ...(layout.hasServices
      ? [
          [run('services'), 'the servers, in Docker; or set DATABASE_URL, MONGO_URL, REDIS_URL, …'] as [
            string,
            string,
          ],
        ]
      : []),
    ...tables(layout, run),
    ...(layout.hasWorker ? [[run('worker'), 'the worker; leave it running'] as [string, string]] : []),
    [run('start'), 'the example, in another terminal'],
    [toolCommand(project, 'status'), 'what is wrong, and the command that mends it'],
  ];
  const width = Math.max(...steps.map(([command]) => command.length));
  return [
    'Next:',
    ...steps.map(([command, meaning]) => `  ${command.padEnd(width)}  ${meaning}`),
    ...notes(layout),
  ];
}

function tables(layout: Layout, run: (name: string) => string): [string, string][] {
  const { migrations } = layout.project;
  const steps: [string, string][] = [];
  if (!layout.hasKnexMigration && layout.entities.some(({ where }) => where === 'postgres') && migrations) {
    const folder = migrations === 'prisma' ? 'prisma/migrations' : 'drizzle';
    const words = `migrate print --format ${migrations} --out ${folder}`;
    const command = toolCommand(layout.project, words);
    steps.push([command, 'once your tables are there and lockstep.config names them']);
  }
  if (layout.hasKnexMigration || layout.entities.some(({ where }) => where === 'mongo')) {
    steps.push([run('migrate'), 'the tables, and what the cache needs in them']);
  }
  return steps;
}

/** A compiler of the project's own refuses endings of TypeScript unless it is told. */
function notes({ config, isTypeScript, project }: Layout): string[] {
  const file = join(project.folder, 'tsconfig.json');
  if (project.isNew || !isTypeScript || !existsSync(file)) return [];
  if (/allowImportingTsExtensions|rewriteRelativeImportExtensions/.test(readFileSync(file, 'utf8')))
    return [];
  return [
    `To import ${config} by its name, tsconfig.json needs rewriteRelativeImportExtensions (or`,
    'allowImportingTsExtensions with noEmit).',
  ];
}
