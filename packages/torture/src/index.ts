export { nowUs, systemMs } from './clock.js';
export { type CheckerOptions, FreshnessChecker, type StaleRead, type Verdicts } from './freshness/checker.js';
export {
  type Fact,
  FactBuffer,
  type FactKind,
  factsOf,
  NO_GROUP,
  UNKNOWN_GROUP,
} from './freshness/facts.js';
export {
  type Lacking,
  ListChecker,
  type ListRead,
  type ListTicket,
  type ListVerdicts,
} from './freshness/lists.js';
export { eitherDown, type Outage, type OutageAllowances, Outages } from './freshness/outages.js';
export type { ReadTicket } from './freshness/reads.js';
export { type Random, randomChoice, randomInt, seededRandom, shuffledIndexes } from './random.js';
