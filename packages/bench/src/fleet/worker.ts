/** A member of the fleet: the worker, as `lockstep-worker` runs it. */
import { startWorker } from '@lockstep/worker';
import { fleetLockstep } from './lockstep.js';
import { serve } from './member.js';

await serve(async (options) => {
  const { knex, lockstep } = fleetLockstep(options);
  const worker = await startWorker({ lockstep: () => lockstep, close: () => knex.destroy(), port: 0 });
  return { counts: () => ({ calls: 0, failures: 0 }), close: () => worker.close() };
});
