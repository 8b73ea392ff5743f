export type { BullmqQueueOptions, RedisOptions } from './options.js';
export { type BullmqQueue, bullmqQueue } from './queue.js';
