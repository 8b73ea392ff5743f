import type { Choices } from '../choices.js';
import { hasWorker, usesPostgres } from '../packages.js';
import type { Project } from '../project.js';
import { type Entity, entitiesOf } from './entity.js';

/** What the templates need to know: where each file is, and in which language. */
export interface Layout {
  readonly choices: Choices;
  readonly entities: readonly [Entity, ...Entity[]];
  readonly project: Project;
  readonly isTypeScript: boolean;
  readonly config: string;
  readonly example: string;
  readonly test: string;
  readonly compose: string;
  readonly knexfile: string;
  readonly migration: string;
  readonly hasWorker: boolean;
  readonly hasServices: boolean;
  /** Without a tool of the project's own that makes its tables. */
  readonly hasKnexMigration: boolean;
  /** Runs a file of the project's language. */
  readonly node: string;
}

/** Node.js runs TypeScript as it is from here on. */
const STRIPS_TYPES = [22, 18] as const;

export function layoutOf(choices: Choices, project: Project, nodeVersion: string): Layout {
  const { isModule, isTypeScript, testRunner } = project;
  const ending = `${isModule ? '' : 'm'}${isTypeScript ? 'ts' : 'js'}`;
  const [major = 0, minor = 0] = nodeVersion.split('.').map(Number);
  const strips = major > STRIPS_TYPES[0] || (major === STRIPS_TYPES[0] && minor >= STRIPS_TYPES[1]);
  // A project on an older Node.js gets a later one.
  const flag = isTypeScript && major >= STRIPS_TYPES[0] && !strips ? ' --experimental-strip-types' : '';
  return {
    choices,
    entities: entitiesOf(choices),
    project,
    isTypeScript,
    config: `lockstep.config.${ending}`,
    example: `examples/lockstep.${ending}`,
    // By another name where the runner would take it for one of its own.
    test: testRunner === 'other' ? `examples/lockstep-check.${ending}` : `test/lockstep.test.${ending}`,
    compose: 'compose.lockstep.yaml',
    knexfile: `knexfile.${isModule ? 'js' : 'mjs'}`,
    migration: 'migrations/20260101000000_lockstep_products.js',
    hasWorker: hasWorker(choices),
    hasServices: choices.store !== 'memory' || choices.cache === 'redis',
    hasKnexMigration: usesPostgres(choices) && project.migrations === undefined,
    node: `node${flag}`,
  };
}

/** The first text in TypeScript, the second in JavaScript. */
export function typed({ isTypeScript }: Pick<Layout, 'isTypeScript'>, ts: string, js = ''): string {
  return isTypeScript ? ts : js;
}

/** Lines that are there; an empty one is a line, too. */
export function lines(...parts: readonly (string | false | undefined)[]): string {
  return `${parts.filter((part) => part !== false && part !== undefined).join('\n')}\n`;
}
