export { LockstepInstrumentation, type LockstepInstrumentationConfig } from './instrumentation.js';
