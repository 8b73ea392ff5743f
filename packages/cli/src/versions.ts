import type { Version } from '@lockstep/core';

/** Who gave a row this version, as far as its lowest bits say. */
export type Writer = 'lockstep' | 'another program' | 'the buffer' | 'the store' | 'unversioned';

/** A version as a person reads it. It is a time in µs, of the store's clock or ahead of it. */
export interface ReadableVersion {
  readonly version: Version;
  readonly at: string | null;
  readonly writer: Writer;
}

/** Postgres's triggers tell Lockstep's writes from others'; elsewhere only a buffered write can be told. */
export function readable(version: Version, source: string): ReadableVersion {
  if (version === 0) return { version, at: null, writer: 'unversioned' };
  const at = new Date(version / 1_000);
  return {
    version,
    at: Number.isNaN(at.getTime()) ? null : at.toISOString(),
    writer: writerOf(version, source),
  };
}

function writerOf(version: Version, source: string): Writer {
  if (version % 2 === 1) return 'the buffer';
  if (!source.startsWith('postgres:')) return 'the store';
  return version % 4 === 2 ? 'lockstep' : 'another program';
}

export function versionLine(version: Version, source: string): string {
  const { at, writer } = readable(version, source);
  return at === null ? 'no version' : `version ${version}, ${at}, by ${writer}`;
}
