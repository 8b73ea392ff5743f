import { setFlagsFromString } from 'node:v8';
import { BSON, DBRef, Long } from 'mongodb';
import { expect, test } from 'vitest';
import { type Binding, toRow } from '../src/rows/binding.js';

const VERSION = 1_764_000_000_000_000;

const binding = {
  source: 'shop.products',
  keyField: '_id',
  versionField: 'version',
  clock: { versionOf: Number },
} as unknown as Binding;

const stored = (fields: object): BSON.Document =>
  BSON.deserialize(BSON.serialize({ ...fields, version: Long.fromNumber(VERSION) }));

setFlagsFromString('--allow-natives-syntax');
const hasFastProperties = new Function('object', 'return %HasFastProperties(object)') as (
  object: object,
) => boolean;

test('a row is the document without its version, of fields that V8 finds without hashing', () => {
  const fields = { _id: 'a', stock: 3, attributes: { colour: 'red', sizes: [36, 38] } };
  const row = toRow<object>(binding, stored(fields));
  expect(row).toEqual({ key: 'a', value: fields, version: VERSION });
  expect(hasFastProperties(row.value)).toBe(true);
});

test('a document that the driver reads as a DBRef stays one, without its version', () => {
  const { value, version } = toRow(binding, stored({ $ref: 'products', $id: 1, _id: 'a', stock: 3 }));
  expect(value).toBeInstanceOf(DBRef);
  expect((value as DBRef).fields).toEqual({ _id: 'a', stock: 3 });
  expect(version).toBe(VERSION);
});
