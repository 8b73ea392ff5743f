import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { configFromEnvironment } from '../src/config/environment.js';
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

const ENOUGH = {
  LOCKSTEP_POSTGRES_URL: 'postgres://localhost/shop',
  LOCKSTEP_REDIS_URL: 'redis://localhost',
  LOCKSTEP_COLLECTIONS: 'products=products:id',
};

test('a misspelt variable is refused, by the name that it may have been meant to have', async () => {
  const misspelt = { ...ENOUGH, LOCKSTEP_PREFX: 'shop' };
  expect(() => configFromEnvironment(misspelt)).toThrow(
    'LOCKSTEP_PREFX: is no variable of the worker; did you mean LOCKSTEP_PREFIX?',
  );
});

test('what Kubernetes says of a service whose name begins with lockstep is no such variable', async () => {
  const { close } = configFromEnvironment({
    ...ENOUGH,
    LOCKSTEP_WORKER_SERVICE_HOST: '10.0.0.1',
    LOCKSTEP_WORKER_SERVICE_PORT_METRICS: '4611',
    LOCKSTEP_WORKER_PORT: 'tcp://10.0.0.1:4610',
    LOCKSTEP_WORKER_PORT_4610_TCP_ADDR: '10.0.0.1',
  });
  await close?.();
});
