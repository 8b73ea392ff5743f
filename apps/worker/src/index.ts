export { runWorker } from './command.js';
export { configFile, loadConfig } from './config/load.js';
export { defineWorker, type WorkerConfig } from './define.js';
export type { FeedHealth, WorkerStatus } from './health.js';
export { type StartWorkerOptions, startWorker, type Worker } from './worker.js';
