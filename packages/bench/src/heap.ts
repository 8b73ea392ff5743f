import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** What is left of the heap, in bytes, after a collection. */
export function collectedHeap(): number {
  collect();
  return process.memoryUsage().heapUsed;
}
