import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { isMap, parseDocument } from 'yaml';

const FILE = 'pnpm-workspace.yaml';
/** Of BullMQ, which works without its build script. pnpm stops at one that nobody has decided on. */
const BUILT = 'msgpackr-extract';

/** The settings that pnpm reads for the folder, with that decision; `undefined`: it was taken, or they can't be read. */
export function pnpmSettings(folder: string): { readonly path: string; readonly text: string } | undefined {
  const file = nearest(folder);
  if (file === undefined) return { path: FILE, text: `allowBuilds:\n  ${BUILT}: false\n` };
  const text = readFileSync(file, 'utf8');
  const document = parseDocument(text);
  if (text.includes(BUILT) || document.errors.length > 0 || !isMap(document.contents)) return undefined;
  document.setIn(['allowBuilds', BUILT], false);
  return { path: relative(folder, file), text: document.toString() };
}

function nearest(folder: string): string | undefined {
  for (let at = folder; ; at = dirname(at)) {
    const file = join(at, FILE);
    if (existsSync(file)) return file;
    if (at === dirname(at)) return undefined;
  }
}
