import type { StoreCapabilities } from '@lockstep/core';

/** What every table can do; reads from replicas are the store's matter. */
export const CAPABILITIES: StoreCapabilities = {
  versioned: true,
  compareAndSet: true,
  transactions: true,
  locks: true,
  changeFeed: true,
  consumers: true,
  increment: true,
  sums: true,
  patch: true,
  create: true,
  restamp: true,
  flush: true,
  replicaReads: false,
  batching: true,
};
