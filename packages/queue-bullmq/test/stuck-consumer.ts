// Takes a job, says so, and never ends it.
import { bullmqQueue } from '@lockstep/queue-bullmq';

const [url = '', name = ''] = process.argv.slice(2);
const queue = bullmqQueue({ connection: { url }, name, lockMs: 1_000 });
await queue.consume(() => {
  console.log('taken');
  return new Promise(() => undefined);
});
