/** A request of the owner to the supervisor, over Node's IPC channel. */
export type SupervisorRequest =
  | { readonly type: 'spawn'; readonly request: number; readonly spawn: SpawnSpec }
  /** Answered when the process is gone; without a signal it only waits, and kills what does not go by itself. */
  | {
      readonly type: 'end';
      readonly request: number;
      readonly pid: number;
      readonly signal?: NodeJS.Signals | undefined;
    }
  /** Sent before the folder exists, so that no instant is left in which it has no keeper. */
  | { readonly type: 'keep'; readonly request: number; readonly cleanup: Cleanup }
  | { readonly type: 'clean'; readonly request: number; readonly cleanup: Cleanup };

/** Something to undo when the owner is gone. */
export type Cleanup =
  | { readonly kind: 'folder'; readonly path: string }
  | { readonly kind: 'postgres-database'; readonly url: string; readonly name: string }
  | { readonly kind: 'mongo-database'; readonly url: string; readonly name: string };

export interface SpawnSpec {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  /** Standard output and error are appended here. */
  readonly logFile: string;
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  /** Asks the server to go in an orderly way; SIGKILL follows when it does not. */
  readonly stopSignal: NodeJS.Signals;
}

export type SupervisorMessage =
  | { readonly type: 'done'; readonly request: number; readonly pid: number }
  | { readonly type: 'failed'; readonly request: number; readonly message: string }
  | {
      readonly type: 'exited';
      readonly pid: number;
      readonly code: number | null;
      readonly signal: NodeJS.Signals | null;
    };
