import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import * as errors from '../src/errors.js';

const cause = new Error('cause');
const about = { cause, key: 'k', collection: 'products' };

const MADE: readonly (readonly [errors.LockstepError, errors.LockstepErrorCode])[] = [
  [new errors.InvalidOptionError('a.b', 'is odd', about), 'LOCKSTEP_INVALID_OPTION'],
  [new errors.InvalidIdError('m', about), 'LOCKSTEP_INVALID_ID'],
  [new errors.DuplicateCollectionError('m', about), 'LOCKSTEP_DUPLICATE_COLLECTION'],
  [new errors.ValidationError('m', [], about), 'LOCKSTEP_VALIDATION'],
  [new errors.SerializationError('m', about), 'LOCKSTEP_SERIALIZATION'],
  [new errors.StoreContractError('m', about), 'LOCKSTEP_STORE_CONTRACT'],
  [new errors.StoreRefusedError('m', about), 'LOCKSTEP_STORE_REFUSED'],
  [new errors.StoreUnavailableError('m', 'unknown', about), 'LOCKSTEP_STORE_UNAVAILABLE'],
  [new errors.StoreTimeoutError('m', about), 'LOCKSTEP_STORE_TIMEOUT'],
  [new errors.StoreOverloadedError('m', about), 'LOCKSTEP_STORE_OVERLOADED'],
  [new errors.StoreInsecureError('m', about), 'LOCKSTEP_STORE_INSECURE'],
  [new errors.StoreSetupError('m', about), 'LOCKSTEP_STORE_SETUP'],
  [new errors.StoreBusyError('m', about), 'LOCKSTEP_STORE_BUSY'],
  [new errors.TransactionOverError('m', about), 'LOCKSTEP_TRANSACTION_OVER'],
  [new errors.CacheUnavailableError('m', about), 'LOCKSTEP_CACHE_UNAVAILABLE'],
  [new errors.QueueUnavailableError('m', about), 'LOCKSTEP_QUEUE_UNAVAILABLE'],
  [
    new errors.JobRefusedError('m', { kind: 'flush', collection: 'products', key: 'k' }, about),
    'LOCKSTEP_JOB_REFUSED',
  ],
  [new errors.ConflictError('m', about), 'LOCKSTEP_CONFLICT'],
  [new errors.VersionNotFoundError('m', about), 'LOCKSTEP_VERSION_NOT_FOUND'],
  [new errors.PartialWriteError('m', [], about), 'LOCKSTEP_PARTIAL_WRITE'],
  [new errors.UnsupportedError('m', about), 'LOCKSTEP_UNSUPPORTED'],
  [new errors.ClosedError('m', about), 'LOCKSTEP_CLOSED'],
];

describe('errors', () => {
  test.each(MADE)('%s has a stable code, its key, its collection and its cause', (error, code) => {
    expect(error).toBeInstanceOf(errors.LockstepError);
    expect(error).toMatchObject({ code, key: 'k', collection: 'products', cause });
    expect(error.name).toBe(error.constructor.name);
  });

  test('every class has a code of its own', () => {
    const classes = Object.values(errors).filter((value) => value.prototype instanceof errors.LockstepError);
    // What is not ready is of many collections, and of no row.
    const { code: notReady } = new errors.NotReadyError([]);
    expect(new Set([...MADE.map(([, code]) => code), notReady]).size).toBe(classes.length);
  });

  test.each([
    [new Error('text'), 'text'],
    ['text', 'text'],
    [undefined, 'undefined'],
    [null, 'null'],
    [Symbol('s'), 'Symbol(s)'],
    [Object.create(null), '[object Object]'],
    [Object.assign(new Error('x'), { message: Object.create(null) }), '[object Error]'],
  ])('whatever is thrown has a message: %#', (thrown, message) => {
    expect(errors.messageOf(thrown)).toBe(message);
  });

  test('without a cause there is none', () => {
    expect('cause' in new errors.ClosedError('m')).toBe(false);
  });
});

test('every code is in the table of the documentation', () => {
  const page = readFileSync(new URL('../../../docs/configuration.md', import.meta.url), 'utf8');
  const documented = [...page.matchAll(/^\| \[`(LOCKSTEP_[A-Z_]+)`\]\(errors\/\1\.md\) /gm)].map(
    ([, code]) => code,
  );
  const codes = [...MADE.map(([, code]) => code), 'LOCKSTEP_NOT_READY'];
  expect(documented.sort()).toEqual(expect.arrayContaining(codes.sort()));
});
