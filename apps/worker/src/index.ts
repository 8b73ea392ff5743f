export type { Consistency } from './audit/auditor.js';
export type { ScaleConsistency } from './audit/consistency.js';
export { runWorker } from './command.js';
export { configFile, loadConfig } from './config/load.js';
export { lockstepOf } from './config/lockstep.js';
export { type AuditOptions, defineWorker, type WorkerConfig } from './define.js';
export type { FeedHealth, WorkerStatus } from './health.js';
export { type StartWorkerOptions, startWorker, type Worker } from './worker.js';
