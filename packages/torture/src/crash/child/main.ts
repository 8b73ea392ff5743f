import { obey } from '../../processes/orders.js';
import type { ChildSettings } from '../settings.js';
import { runApplication } from './application.js';
import { tell } from './journal.js';
import { runWorker } from './worker.js';

await obey<ChildSettings>({ application: runApplication, worker: runWorker }, () => tell({ type: 'ready' }));
