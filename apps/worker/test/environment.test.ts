import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { integrityFrom } from '../src/config/integrity.js';

const SECRET = 'a secret, with : and 32 bytes or more of it';

test('keys come from a variable or a file, the first one first', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lockstep-keys-'));
  try {
    const file = join(folder, 'keys');
    writeFileSync(file, `two:${SECRET}\n\none:${SECRET}\n`);
    const keys = [
      { id: 'two', secret: SECRET },
      { id: 'one', secret: SECRET },
    ];
    expect(integrityFrom({ LOCKSTEP_INTEGRITY_KEYS_FILE: file })).toEqual({ keys, acceptUnsigned: false });
    const plain = SECRET.replace(',', '');
    const both = { LOCKSTEP_INTEGRITY_KEYS: `one:${plain}`, LOCKSTEP_INTEGRITY_ACCEPT_UNSIGNED: 'true' };
    expect(integrityFrom(both)).toEqual({ keys: [{ id: 'one', secret: plain }], acceptUnsigned: true });
    expect(() => integrityFrom({ ...both, LOCKSTEP_INTEGRITY_KEYS_FILE: file })).toThrow('excludes');
    writeFileSync(file, '\n');
    expect(() => integrityFrom({ LOCKSTEP_INTEGRITY_KEYS_FILE: file })).toThrow('no key');
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('none of it: no signatures', () => {
  expect(integrityFrom({})).toBeUndefined();
});
