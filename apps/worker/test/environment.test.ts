import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { installationOf } from '../src/config/adapters.js';
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
  await expect(configFromEnvironment(misspelt)).rejects.toThrow(
    'LOCKSTEP_PREFX: is no variable of the worker; did you mean LOCKSTEP_PREFIX?',
  );
});

test('what Kubernetes says of a service whose name begins with lockstep is no such variable', async () => {
  const { close } = await configFromEnvironment({
    ...ENOUGH,
    LOCKSTEP_WORKER_SERVICE_HOST: '10.0.0.1',
    LOCKSTEP_WORKER_SERVICE_PORT_METRICS: '4611',
    LOCKSTEP_WORKER_PORT: 'tcp://10.0.0.1:4610',
    LOCKSTEP_WORKER_PORT_4610_TCP_ADDR: '10.0.0.1',
  });
  await close?.();
});

test.each([
  [
    "Cannot find package '@lockstep/queue-bullmq' imported from /a/b.js",
    '@lockstep/queue-bullmq bullmq ioredis',
  ],
  ["Cannot find package 'mongodb' imported from /a/b.js", '@lockstep/store-mongo mongodb'],
  ["Cannot find module 'valibot/x'\nRequire stack:\n- /a/b.js", 'valibot'],
  ["Knex: run\n$ npm install pg\nCannot find module 'pg'", '@lockstep/store-postgres knex pg'],
])('%s: the command that installs it', (message, names) => {
  expect(installationOf(new Error(message))).toMatch(new RegExp(`is not installed: npm install ${names}$`));
});

test("a module of one's own that is missing is no package", () => {
  expect(installationOf(new Error("Cannot find module './shop.js' imported from /a/b.js"))).toBeUndefined();
  expect(installationOf(new Error("Cannot find module '/a/shop.js'"))).toBeUndefined();
});
