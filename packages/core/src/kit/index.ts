// What adapters share: how they wait, and how they check their options.

export { Backoff, type BackoffOptions } from './backoff.js';
export { checkKnown, choiceOption, type NumberRange, numberOption } from './options.js';
export { callerSleep, Deadline, type DeadlineOptions, sleep, withTimeout } from './wait.js';
