import type { ViewsStoreName } from '../settings.js';
import type { ViewsStore } from './store.js';

/** Only what is used is loaded: processes start often. */
export async function openViewsStore(name: ViewsStoreName, url: string): Promise<ViewsStore> {
  if (name === 'postgres') return (await import('./postgres.js')).openPostgres(url);
  return (await import('./mongo.js')).openMongo(url);
}
