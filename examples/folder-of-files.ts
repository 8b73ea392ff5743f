/**
 * The classic form over a folder of files: the system of record is a disk, written and read by functions
 * that the application has anyway. Files have no version, so overlapping writes leave a miss, never old data.
 */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { callbackStore, createLockstep } from '@lockstep/core';
import { memoryCache } from '@lockstep/core/memory';

interface Note {
  readonly title: string;
  readonly text: string;
}

const folder = await mkdtemp(join(tmpdir(), 'lockstep-notes-'));
const fileOf = (id: string): string => join(folder, `${encodeURIComponent(id)}.json`);
let reads = 0;

/** The application's own functions, as they were before there was a cache. */
async function readNote(id: string): Promise<Note | undefined> {
  reads += 1;
  try {
    const note: Note = JSON.parse(await readFile(fileOf(id), 'utf8'));
    return note;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

async function writeNote(id: string, note: Note): Promise<void> {
  const draft = join(folder, `.${crypto.randomUUID()}`);
  await writeFile(draft, JSON.stringify(note));
  await rename(draft, fileOf(id));
}

async function deleteNote(id: string): Promise<void> {
  await rm(fileOf(id), { force: true });
}

const lockstep = createLockstep({ cache: memoryCache() });
try {
  const notes = lockstep.collection({
    name: 'notes',
    store: callbackStore<Note>({ name: 'files', read: readNote, write: writeNote, delete: deleteNote }),
  });

  await notes.put('shopping', { title: 'Shopping', text: 'Bread' });
  const written = reads;
  assert.deepEqual(await notes.get('shopping'), { title: 'Shopping', text: 'Bread' });
  assert.equal(reads, written, 'a written note is read from the cache');

  // Many readers of a note that is not cached: the file is read once.
  await writeNote('plan', { title: 'Plan', text: 'Rest' });
  const before = reads;
  const found = await Promise.all(Array.from({ length: 50 }, () => notes.get('plan')));
  assert.ok(found.every((note) => note?.text === 'Rest'));
  assert.equal(reads, before + 1);

  // Another program changed a file: say so, and the next reader gets it.
  await writeNote('plan', { title: 'Plan', text: 'Work' });
  await notes.invalidate('plan');
  assert.equal((await notes.get('plan'))?.text, 'Work');

  // Concurrent writers: whatever the order, cache and disk agree afterwards.
  await Promise.all(Array.from({ length: 20 }, (_, i) => notes.put('plan', { title: 'Plan', text: `${i}` })));
  assert.deepEqual(await notes.get('plan'), await readNote('plan'));

  await notes.delete('shopping');
  assert.equal(await notes.get('shopping'), undefined);

  // Without a collection: one record, with the functions in place.
  const today = lockstep.through<Note>({
    namespace: 'diary',
    id: 'today',
    reader: readNote,
    writer: writeNote,
    ttlMs: 60_000,
  });
  await today.write({ title: 'Today', text: 'Sun' });
  assert.equal((await today.read())?.text, 'Sun');
  console.log('notes in files: cache and disk agree');
} finally {
  await lockstep.close();
  await rm(folder, { recursive: true, force: true });
}
