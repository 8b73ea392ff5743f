import '../node-version.js';

export { type CacheCalls, faultyCache } from './cache.js';
export type { Fault, FaultCall } from './call.js';
export {
  type AnyFault,
  after,
  applyLate,
  before,
  delay,
  duplicate,
  type Gate,
  hang,
  loseCommand,
  loseReply,
  pause,
  refuse,
  reorder,
} from './faults.js';
export { type ManualClock, manualClock } from './manual-clock.js';
export {
  type BoundaryCall,
  type CallMap,
  type FaultPlan,
  type FaultPlanOptions,
  type FaultScope,
  faultPlan,
} from './plan.js';
export { faultyQueue, type QueueCalls } from './queue.js';
export { faultyStore, type StoreCalls } from './store.js';
