import { execFile } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Cleanup } from './protocol.js';

/** Undoes one thing; rejects when that is not possible. */
export async function clean(cleanup: Cleanup): Promise<void> {
  switch (cleanup.kind) {
    case 'folder':
      await freeSharedMemory(cleanup.path);
      // A server's last child may still be writing when the server itself is gone already.
      return rm(cleanup.path, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
    case 'postgres-database':
      return dropPostgresDatabase(cleanup.url, cleanup.name);
    case 'mongo-database':
      return dropMongoDatabase(cleanup.url, cleanup.name);
  }
}

/** The key of a cleanup: the same key is the same thing to undo. */
export function cleanupKey(cleanup: Cleanup): string {
  return cleanup.kind === 'folder'
    ? `folder ${cleanup.path}`
    : `${cleanup.kind} ${cleanup.url} ${cleanup.name}`;
}

/** A Postgres that died by SIGKILL leaves a System V segment; line 7 of its pid file says which. */
async function freeSharedMemory(folder: string): Promise<void> {
  const files = ['postmaster.pid', join('data', 'postmaster.pid')].map((name) => join(folder, name));
  const contents = await Promise.all(files.map((file) => readFile(file, 'utf8').catch(() => undefined)));
  const pidFile = contents.find((content) => content !== undefined);
  if (pidFile === undefined) return;
  const segment = pidFile.split('\n')[6]?.trim().split(/\s+/)[1];
  if (segment === undefined) return;
  try {
    await promisify(execFile)('ipcrm', ['-m', segment], { timeout: 5_000 });
  } catch {
    // The segment is gone already, or the machine has no ipcrm: a segment of 56 bytes is no reason to fail.
  }
}

async function dropPostgresDatabase(url: string, name: string): Promise<void> {
  const { default: pg } = await import('pg');
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: 5_000,
    query_timeout: 10_000,
  });
  client.on('error', () => undefined);
  await client.connect();
  try {
    await client.query(`DROP DATABASE IF EXISTS ${client.escapeIdentifier(name)} WITH (FORCE)`);
  } finally {
    await client.end();
  }
}

async function dropMongoDatabase(url: string, name: string): Promise<void> {
  const { MongoClient } = await import('mongodb');
  const client = new MongoClient(url, { serverSelectionTimeoutMS: 5_000, timeoutMS: 10_000 });
  try {
    await client.db(name).dropDatabase();
  } finally {
    await client.close();
  }
}
