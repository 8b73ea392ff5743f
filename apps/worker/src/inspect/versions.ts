import type { Version } from '@lockstep/core';

/** Who gave a row this version, as far as its lowest bits say. */
type Writer = 'lockstep' | 'another program' | 'the buffer' | 'the store' | 'unversioned';

/** A version as a person reads it. It is a time in µs, of the store's clock or ahead of it. */
export interface ReadableVersion {
  readonly version: Version;
  readonly at: string | null;
  readonly writer: Writer;
}

/** Postgres's triggers tell Lockstep's writes from others'; elsewhere only a buffered write can be told. */
export function readable(version: Version, source: string): ReadableVersion {
  if (version === 0) return { version, at: null, writer: 'unversioned' };
  return { version, at: timeOf(version / 1_000), writer: writerOf(version, source) };
}

/** `null`: no date is so far away, which somebody must have made up. */
export function timeOf(ms: number): string | null {
  const at = new Date(ms);
  return Number.isNaN(at.getTime()) ? null : at.toISOString();
}

function writerOf(version: Version, source: string): Writer {
  if (version % 2 === 1) return 'the buffer';
  if (!source.startsWith('postgres:')) return 'the store';
  return version % 4 === 2 ? 'lockstep' : 'another program';
}

export function versionLine({ at, version, writer }: ReadableVersion): string {
  return at === null ? 'no version' : `version ${version}, ${at}, by ${writer}`;
}
