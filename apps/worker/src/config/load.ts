import { existsSync } from 'node:fs';
import type { WorkerConfig } from '../define.js';
import { configFromEnvironment } from './environment.js';
import { configFromFile, DEFAULT_FILES } from './file.js';

/** The file that tools read without being told: `lockstep.config.ts` (or `.mts`, `.js`, `.mjs`) of the working directory. */
export function configFile(): string | undefined {
  return DEFAULT_FILES.find((name) => existsSync(name));
}

/**
 * A worker's configuration, for tools that work on the same Lockstep: from the file, else from
 * {@link configFile}, else from the environment. Throws `InvalidOptionError`.
 */
export async function loadConfig(file?: string): Promise<WorkerConfig> {
  const found = file ?? configFile();
  return found === undefined ? await configFromEnvironment(process.env) : await configFromFile(found);
}
