import type { StoreName } from '../settings.js';
import type { CrashStore } from './store.js';

/** Only what is used is loaded: processes start often. */
export async function openStore(name: StoreName, url: string): Promise<CrashStore> {
  if (name === 'postgres') return (await import('./postgres.js')).openPostgres(url);
  return (await import('./mongo.js')).openMongo(url);
}
