import { createHash } from 'node:crypto';
import type { CacheCommand } from '@lockstep/core';
import { FILL, LEASE, REFRESH } from './readers.js';
import { INTEND, INVALIDATE, PUT, RELEASE, RESERVE } from './writers.js';

/** A script and the name under which a server that has seen it keeps it. */
export interface Script {
  readonly lua: string;
  readonly sha: string;
}

function script(lua: string): Script {
  return { lua, sha: createHash('sha1').update(lua).digest('hex') };
}

/** One script per transition. */
export const SCRIPTS: Readonly<Record<CacheCommand['kind'], Script>> = {
  reserve: script(RESERVE),
  intend: script(INTEND),
  put: script(PUT),
  refresh: script(REFRESH),
  invalidate: script(INVALIDATE),
  lease: script(LEASE),
  fill: script(FILL),
  release: script(RELEASE),
};
