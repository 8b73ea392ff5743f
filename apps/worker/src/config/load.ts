import { existsSync } from 'node:fs';
import type { WorkerConfig } from '../define.js';
import { configFromEnvironment } from './environment.js';
import { configFromFile, DEFAULT_FILES } from './file.js';

/**
 * A worker's configuration, for tools that work on the same Lockstep: from the file, else from `lockstep.config.ts` (or
 * `.mts`, `.js`, `.mjs`) in the working directory, else from the environment. Throws `InvalidOptionError`.
 */
export async function loadConfig(file?: string): Promise<WorkerConfig> {
  const found = file ?? DEFAULT_FILES.find((name) => existsSync(name));
  return found === undefined ? configFromEnvironment(process.env) : await configFromFile(found);
}
