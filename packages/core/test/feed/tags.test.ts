import { expect, test } from 'vitest';
import type { RecordedCollection } from '../../src/contracts/registry.js';
import { invalidations } from '../../src/feed/invalidations.js';
import { RecordJudge } from '../../src/feed/recorded.js';
import { tagsName, tagsPrefix } from '../../src/protocol/tags.js';
import { EventHub } from '../../src/runtime/events.js';

const shared = { source: 'items', holeTtlMs: 1_000, holeOnEmpty: true };
const rows: RecordedCollection = { ...shared, name: 'items', keyPrefix: 'wtc:items:' };
const tags: RecordedCollection = {
  ...shared,
  name: tagsName('items'),
  keyPrefix: 'wtc:items%t:',
  tags: [['category'], ['status', 'tenant']],
};

const keysOf = (...of: Parameters<typeof invalidations>): string[] =>
  invalidations(...of).map(({ key }) => key.replace('wtc:items%t:', ''));

test('a change ends the tags of what the row had and gets, each once in a batch', () => {
  const before = { category: '=books', status: '=new', tenant: '=1' };
  const moved = { key: '7', version: 4, texts: [before, { ...before, category: null }] };
  const other = { key: '8', version: 6, texts: [before] };
  expect(keysOf([moved, other], [tags])).toEqual([
    'any',
    'id:7',
    'where:[["category"],["=books"]]',
    'where:[["category"],[null]]',
    'where:[["status","tenant"],["=new","=1"]]',
    'id:8',
  ]);
  expect(keysOf([moved], [rows])).toEqual(['wtc:items:7']);
  expect(invalidations([moved], [tags])[0]).toMatchObject({ version: 0, holeTtlMs: 0, holeOnEmpty: false });
});

test('a change that does not tell what the row had ends the tag of every view', () => {
  const state = { category: '=books', status: '=new', tenant: '=1' };
  expect(keysOf([{ key: '7', version: 4 }], [tags])).toEqual(['any', 'id:7', 'all']);
  expect(keysOf([{ key: '7', version: 4, texts: [{ category: '=books' }] }], [tags])).toContain('all');
  expect(keysOf([{ key: '7', version: 4, texts: [state] }], [tags], true)).toEqual(['any', 'id:7', 'all']);
  // There is nothing to tell.
  expect(keysOf([{ key: '7', version: 4 }], [{ ...tags, tags: [] }])).toEqual(['any', 'id:7']);
});

test('a long id or value is named by its hash', () => {
  const long = 'x'.repeat(1_000);
  const [, id, value] = keysOf(
    [{ key: long, version: 4, texts: [{ category: `=${long}` }] }],
    [{ ...tags, tags: [['category']] }],
  );
  expect(id).toMatch(/^#[0-9a-f]{64}$/);
  expect(value).toMatch(/^#[0-9a-f]{64}$/);
  expect(id).not.toBe(value);
});

test('a record of tags is believed only where its name gives its keys', () => {
  const judge = new RecordJudge('wtc', new EventHub());
  const believed = (collection: object): number =>
    judge.believed([{ source: 'items', collections: [collection] } as never])[0]?.collections.length ?? 0;
  expect(believed(tags)).toBe(1);
  expect(believed({ ...tags, keyPrefix: 'wtc:items:' })).toBe(0);
  expect(believed({ ...tags, name: 'items' })).toBe(0);
  expect(believed({ ...tags, tags: [['category'], []] })).toBe(0);
  expect(tagsPrefix('wtc', 'a:b%t')).toBe('wtc:a%3Ab%t:');
});
