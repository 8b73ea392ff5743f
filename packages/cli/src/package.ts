import { readFileSync } from 'node:fs';

/** Of this package; all of Lockstep's are released under one version. */
export const PACKAGE = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  readonly version: string;
};
