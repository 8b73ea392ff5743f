import type { Version } from '@lockstep/core';

/** Versions are safe integers, whatever parser the user has set for int8. */
export function versionOf(raw: unknown): Version {
  return raw === null || raw === undefined ? 0 : Number(raw);
}
