import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { InvalidOptionError, messageOf } from '@lockstep/core';
import { createJiti } from 'jiti';
import type { WorkerConfig } from '../define.js';
import { installationOf } from './adapters.js';

/** Where a configuration is looked for, in this order. */
export const DEFAULT_FILES = ['ts', 'mts', 'js', 'mjs'].map((ending) => `lockstep.config.${ending}`);

/** Loads a configuration's default export, TypeScript or JavaScript. Throws `InvalidOptionError`. */
export async function configFromFile(path: string): Promise<WorkerConfig> {
  const file = resolve(path);
  if (!statSync(file, { throwIfNoEntry: false })?.isFile())
    throw new InvalidOptionError('--config', `there is no file ${file}`);
  const config = await load(file);
  if (typeof config === 'object' && config !== null && 'lockstep' in config) return config as WorkerConfig;
  throw new InvalidOptionError(
    '--config',
    `${file} must export defineWorker({ lockstep, … }) as its default`,
  );
}

async function load(file: string): Promise<unknown> {
  // No cache on disk: a worker leaves no files behind.
  const jiti = createJiti(pathToFileURL(file).href, { fsCache: false });
  try {
    return await jiti.import(file, { default: true });
  } catch (error) {
    const [problem = '', behind = ''] = messageOf(error).split('\n');
    // The second line has the place of what can't be parsed.
    const [at = ''] = /:\d+:\d+$/.exec(behind) ?? [];
    const says = installationOf(error) ?? problem.trim();
    throw new InvalidOptionError('--config', `${file}${at}: ${says}`, { cause: error });
  }
}
