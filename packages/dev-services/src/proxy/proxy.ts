import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { DevServicesError } from '../errors.js';
import { freePort, LOOPBACK } from '../ports.js';
import { Pipe, type PipeFaults, type PipeMode } from './pipe.js';

/** `request`: from the client to the server; `reply`: back. */
export type ProxyDirection = 'request' | 'reply' | 'both';

export interface ProxyOptions {
  /** A host and port, or a URL whose host and port are taken. */
  readonly target: string | { readonly host: string; readonly port: number };
}

/** A TCP proxy on loopback that passes everything until it is told otherwise; then for new connections, too. */
export interface TcpProxy extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  /** The target's URL with this proxy's address in it; `tcp://…` when the target was given as host and port. */
  readonly url: string;
  /** How many connections are open. */
  readonly connections: number;
  /** Delivers everything `ms` milliseconds late, in order; 0 for no delay. */
  delay(ms: number, direction?: ProxyDirection): void;
  /**
   * Swallows the bytes while connections stay open: nobody ever answers. With `reply`, the request takes
   * effect and its answer is lost. Connections that lost bytes are reset by {@link TcpProxy.heal}.
   */
  drop(direction?: ProxyDirection): void;
  /** Withholds the bytes, and delivers them on {@link TcpProxy.heal}: messages that arrive late. */
  hold(direction?: ProxyDirection): void;
  /**
   * Ends the server's side of the present connections and leaves the client's side open, as when a server
   * crashes without a word: writes vanish. New connections pass.
   */
  halfOpen(): void;
  /** Resets all connections and refuses new ones until {@link TcpProxy.heal}. */
  cut(): Promise<void>;
  /**
   * Lets exactly `bytes` more bytes of a direction pass, then resets the connection that goes beyond; once.
   * `cutAfter(0, 'reply')`: the request takes effect, and instead of its reply there is a reset.
   */
  cutAfter(bytes: number, direction: 'request' | 'reply'): void;
  /** Ends all faults. Connections that lost bytes are reset, the others go on. */
  heal(): Promise<void>;
  /** Closes everything. */
  stop(): Promise<void>;
}

interface Connection {
  readonly client: Socket;
  readonly target: Socket;
  readonly request: Pipe;
  readonly reply: Pipe;
  halfOpen: boolean;
}

class FaultyProxy implements TcpProxy {
  readonly host = LOOPBACK;
  readonly port: number;
  readonly url: string;
  readonly #target: { readonly host: string; readonly port: number };
  readonly #server: Server;
  readonly #open = new Set<Connection>();
  readonly #faults: Record<'request' | 'reply', PipeFaults> = {
    request: { mode: 'pass', delayMs: 0, budget: undefined },
    reply: { mode: 'pass', delayMs: 0, budget: undefined },
  };

  constructor(options: ProxyOptions, port: number) {
    this.port = port;
    if (typeof options.target === 'string') {
      const url = new URL(options.target);
      this.#target = { host: url.hostname, port: portOf(url) };
      url.hostname = LOOPBACK;
      url.port = String(port);
      this.url = url.href;
    } else {
      this.#target = options.target;
      this.url = `tcp://${LOOPBACK}:${port}`;
    }
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#accept(client));
  }

  get connections(): number {
    return this.#open.size;
  }

  async listen(): Promise<void> {
    if (this.#server.listening) return;
    this.#server.listen(this.port, LOOPBACK);
    await once(this.#server, 'listening');
  }

  delay(ms: number, direction: ProxyDirection = 'both'): void {
    if (!Number.isFinite(ms) || ms < 0) {
      throw new DevServicesError('DEV_SERVICES_INVALID_OPTION', `delay: ${ms} is no number of milliseconds`);
    }
    for (const faults of this.#of(direction)) faults.delayMs = ms;
  }

  drop(direction: ProxyDirection = 'both'): void {
    this.#mode('drop', direction);
  }

  hold(direction: ProxyDirection = 'both'): void {
    this.#mode('hold', direction);
  }

  halfOpen(): void {
    for (const connection of this.#open) {
      connection.halfOpen = true;
      connection.request.lossy = true;
      connection.reply.close();
      connection.target.resetAndDestroy();
    }
  }

  async cut(): Promise<void> {
    const closed = this.#server.listening ? once(this.#server, 'close') : undefined;
    this.#server.close();
    for (const connection of this.#open) this.#reset(connection);
    await closed;
  }

  cutAfter(bytes: number, direction: 'request' | 'reply'): void {
    if (!Number.isInteger(bytes) || bytes < 0) {
      throw new DevServicesError('DEV_SERVICES_INVALID_OPTION', `cutAfter: ${bytes} is no number of bytes`);
    }
    this.#faults[direction].budget = bytes;
  }

  async heal(): Promise<void> {
    for (const faults of this.#of('both')) {
      faults.mode = 'pass';
      faults.delayMs = 0;
      faults.budget = undefined;
    }
    for (const connection of this.#open) {
      if (connection.halfOpen || connection.request.lossy || connection.reply.lossy) this.#reset(connection);
      else this.#update(connection);
    }
    await this.listen();
  }

  async stop(): Promise<void> {
    await this.cut();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #accept(client: Socket): void {
    const target = connect({ ...this.#target, noDelay: true, allowHalfOpen: true });
    const reset = () => this.#reset(connection);
    const connection: Connection = {
      client,
      target,
      request: new Pipe(client, target, this.#faults.request, reset),
      reply: new Pipe(target, client, this.#faults.reply, reset),
      halfOpen: false,
    };
    this.#open.add(connection);
    // An error is always followed by 'close'.
    client.on('error', () => undefined);
    target.on('error', () => undefined);
    client.on('close', () => this.#reset(connection));
    target.on('close', () => {
      if (!connection.halfOpen) this.#reset(connection);
    });
  }

  #reset(connection: Connection): void {
    if (!this.#open.delete(connection)) return;
    connection.request.close();
    connection.reply.close();
    for (const socket of [connection.client, connection.target]) {
      // Both directions ended in an orderly way: nothing is left to reset.
      if (socket.readableEnded && socket.writableFinished) socket.destroy();
      else socket.resetAndDestroy();
    }
  }

  #mode(mode: PipeMode, direction: ProxyDirection): void {
    for (const faults of this.#of(direction)) faults.mode = mode;
    for (const connection of this.#open) this.#update(connection);
  }

  #update(connection: Connection): void {
    connection.request.update();
    connection.reply.update();
  }

  #of(direction: ProxyDirection): PipeFaults[] {
    return direction === 'both' ? [this.#faults.request, this.#faults.reply] : [this.#faults[direction]];
  }
}

const DEFAULT_PORTS: Readonly<Record<string, number>> = {
  'postgres:': 5432,
  'postgresql:': 5432,
  'redis:': 6379,
  'mongodb:': 27017,
};

function portOf(url: URL): number {
  const port = url.port === '' ? DEFAULT_PORTS[url.protocol] : Number(url.port);
  if (port === undefined)
    throw new DevServicesError('DEV_SERVICES_INVALID_OPTION', `target: ${url.href} names no port`);
  return port;
}

/** Starts a proxy in this process, on a free port. */
export async function startProxy(options: ProxyOptions): Promise<TcpProxy> {
  for (let attempt = 1; ; attempt += 1) {
    const proxy = new FaultyProxy(options, await freePort());
    try {
      await proxy.listen();
      return proxy;
    } catch (error) {
      if (attempt >= 5) throw error;
    }
  }
}
