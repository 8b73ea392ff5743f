/** Looks at rows and entries, for tools that people work with. It brings no driver, and no server. */
export { type Comparison, compare } from './compare.js';
export { collectionOf, idOf } from './ids.js';
export {
  type EntryFacts,
  type FeedFacts,
  type Inspection,
  inspectRow,
  type QueueFacts,
} from './inspection.js';
export { jobsAbout, keptOf, lettersAbout, recordedOf } from './traces.js';
export { versionLine } from './versions.js';
