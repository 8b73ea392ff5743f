import type { WorkerConfig } from '../messages.js';

/** A worker that runs in this process. */
export interface RunningWorker {
  readonly healthUrl: string | null;
  stop(): Promise<void>;
}

export async function openWorker(config: WorkerConfig): Promise<RunningWorker> {
  throw new Error(`no worker ${config.worker}`);
}
