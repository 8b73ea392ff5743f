import { obey, write } from '../../processes/orders.js';
import type { ViewsLine } from '../recorder.js';
import type { ViewsChildSettings } from '../settings.js';
import { runApplication, runWorker } from './work.js';

const tell = (line: ViewsLine): void => write(`${JSON.stringify(line)}\n`);

await obey<ViewsChildSettings>(
  {
    application: (...given) => runApplication(tell, ...given),
    worker: (...given) => runWorker(tell, ...given),
  },
  () => tell({ type: 'ready' }),
);
