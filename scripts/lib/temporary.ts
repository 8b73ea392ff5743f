import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Creates an empty folder `lockstep-{name}-…`, which goes when this process ends, also when interrupted. */
export function temporaryFolder(name: string): string {
  const folder = mkdtempSync(join(tmpdir(), `lockstep-${name}-`));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => process.exit(130));
  return folder;
}
