// For adapters: how they wait, and how they check their options.

export { Backoff, type BackoffOptions, backoffMs, type Pauses } from './backoff.js';
export { type Amount, type Decimal, decimalOf, decimalText, isWhole, stepsBefore } from './decimal.js';
export { DECLARED_SETS } from './declared-sets.js';
export { canonicalOf, declaredText, MAX_DECLARED_BYTES } from './declared-text.js';
export {
  checkOptions,
  type Option,
  type OptionsOf,
  type OptionTable,
  option,
  optionValue,
  type Settings,
  withDefaults,
} from './options.js';
export { rolledBackBy } from './rolled-back.js';
export { type ServerAddress, saidAtConnect } from './said-at-connect.js';
export { type Timeout, Timeouts } from './timeouts.js';
export { tlsHint } from './tls-hint.js';
export { callerSleep, Deadline, type DeadlineOptions, sleep, withTimeout } from './wait.js';
