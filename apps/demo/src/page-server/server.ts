import { type FastifyInstance, type FastifyReply, fastify } from 'fastify';
import { systemMs } from '../checker/clock.js';
import { FaultError } from '../faults/injector.js';
import { type FaultName, isFaultName } from '../faults/names.js';
import type { Rates } from '../messages.js';
import { LOOPBACK } from '../naming.js';
import type { Recorder } from '../supervisor/recorder.js';
import type { Shop } from '../supervisor/shop.js';
import { readAssets } from './assets.js';
import { type Status, statusOf } from './status.js';

export interface PageOptions {
  readonly shop: Shop;
  readonly recorder: Recorder;
  readonly rates: Rates;
  readonly mix: string;
  /** 0: any. */
  readonly port: number;
}

/** How long a button's fault lasts, in ms. */
const BUTTON_MS = 3_000;
const BURST = { forMs: 10_000, writesFactor: 10, leastWrites: 500 } as const;
/** Pages that may watch at once. */
const MAX_WATCHERS = 20;

/** The page, what feeds it, and what its buttons do. */
export class PageServer {
  readonly url: string;
  readonly #server: FastifyInstance;
  readonly #options: PageOptions;
  readonly #watchers = new Set<FastifyReply>();
  #burst: NodeJS.Timeout | undefined;
  #keepData = false;
  #midWrite = true;

  private constructor(server: FastifyInstance, options: PageOptions) {
    this.#server = server;
    this.#options = options;
    const address = server.server.address();
    const port = address === null || typeof address === 'string' ? options.port : address.port;
    this.url = `http://${LOOPBACK}:${port}/`;
  }

  /** Rejects with a message that names `--port` when it is taken. */
  static async start(options: PageOptions): Promise<PageServer> {
    const server = fastify({ forceCloseConnections: true });
    const { files, scriptHashes } = await readAssets();
    // A page of another origin, or a name that somebody points at this machine, must not press the buttons.
    server.addHook('onRequest', async ({ headers }, reply) => {
      const host = headers.host ?? '';
      const known = /^(127\.0\.0\.1|localhost|\[::1\])(:\d+)?$/.test(host);
      const same = headers.origin === undefined || headers.origin === `http://${host}`;
      if (!known || !same)
        return reply.status(403).send({ code: 'FORBIDDEN', message: 'only for this machine’s own page' });
    });
    server.setErrorHandler((error: Error & { statusCode?: number; code?: string }, _, reply) => {
      const status = error instanceof FaultError ? 409 : (error.statusCode ?? 500);
      const code = error instanceof FaultError ? 'NOT_NOW' : (error.code ?? 'INTERNAL');
      return reply.status(status).send({ code, message: error.message });
    });
    const policy =
      `default-src 'self'; script-src 'self' ${scriptHashes.join(' ')}; style-src 'self' 'unsafe-inline'; ` +
      "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    for (const [path, { type, body }] of files) {
      server.get(path, (_, reply) =>
        reply
          .type(type)
          .header('content-security-policy', policy)
          .header('cache-control', 'no-cache')
          .send(body),
      );
    }
    let page: PageServer | undefined;
    const running = (): PageServer => {
      if (page === undefined) throw new Error('the page is not open yet');
      return page;
    };
    server.get('/status', () => running().status());
    server.get('/events', (_, reply) => running().#watch(reply));
    server.get<{ Params: { id: string } }>('/inspect/:id', { schema: ID }, ({ params }) =>
      options.shop.applications.inspect(Number(params.id)),
    );
    server.post<{ Params: { name: string }; Body: { id?: number } | null }>(
      '/faults/:name',
      { schema: { body: FAULT_BODY } },
      async ({ params, body }, reply) => {
        const { name } = params;
        if (name !== 'burst' && !isFaultName(name)) {
          return reply.status(404).send({ code: 'NO_FAULT', message: `there is no fault ${name}` });
        }
        return reply.status(202).send(await running().#press(name, body?.id));
      },
    );
    try {
      await server.listen({ host: LOOPBACK, port: options.port });
    } catch (error) {
      const taken = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE';
      if (taken) throw new Error(`--port: ${options.port} is in use`, { cause: error });
      throw error;
    }
    page = new PageServer(server, options);
    return page.#feed();
  }

  status(): Status {
    const { shop, recorder, mix } = this.#options;
    const uptimeMs = shop.loadSinceMs === 0 ? 0 : systemMs() - shop.loadSinceMs;
    return statusOf(shop, recorder, this.url, mix, uptimeMs);
  }

  async stop(): Promise<void> {
    clearTimeout(this.#burst);
    for (const watcher of this.#watchers) watcher.raw.end();
    await this.#server.close();
  }

  #feed(): this {
    this.#options.recorder.listen((point) => {
      if (this.#watchers.size === 0) return;
      const message = sse('point', { point, status: this.status() });
      for (const watcher of this.#watchers) watcher.raw.write(message);
    });
    return this;
  }

  #watch(reply: FastifyReply): FastifyReply {
    if (this.#watchers.size >= MAX_WATCHERS) {
      return reply.status(503).send({ code: 'TOO_MANY', message: 'too many pages are open' });
    }
    reply.hijack();
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    reply.raw.write(sse('history', { points: this.#options.recorder.points, status: this.status() }));
    this.#watchers.add(reply);
    reply.raw.on('close', () => this.#watchers.delete(reply));
    return reply;
  }

  async #press(name: FaultName | 'burst', id: number | undefined): Promise<object> {
    const { faults } = this.#options.shop;
    if (name === 'burst') return this.#startBurst();
    if (name === 'foreign-write') {
      const written = await faults.foreignWrite(id);
      if (written === undefined) throw new FaultError(`there is no product ${id ?? ''}`);
      return written;
    }
    let variant = false;
    if (name === 'redis-kill') {
      variant = this.#keepData;
      this.#keepData = !this.#keepData;
    } else if (name === 'app-kill') {
      variant = this.#midWrite;
      this.#midWrite = !this.#midWrite;
    }
    const done = faults.inject({ name, forMs: BUTTON_MS, variant });
    // What is refused is refused at once; what was taken is answered before it is over.
    await Promise.race([done, new Promise((resolve) => setTimeout(resolve, 50))]);
    return { name, forMs: BUTTON_MS };
  }

  async #startBurst(): Promise<object> {
    const { shop, rates } = this.#options;
    if (this.#burst !== undefined) throw new FaultError('a burst is under way');
    const writesPerSecond = Math.max(BURST.leastWrites, rates.writesPerSecond * BURST.writesFactor);
    this.#burst = setTimeout(() => {
      this.#burst = undefined;
      void shop.applications.load(rates).catch(() => undefined);
    }, BURST.forMs);
    await shop.applications.load({ ...rates, writesPerSecond });
    return { name: 'burst', forMs: BURST.forMs, writesPerSecond };
  }
}

const ID = {
  params: { type: 'object', properties: { id: { type: 'string', pattern: '^[1-9][0-9]{0,9}$' } } },
} as const;

const FAULT_BODY = {
  anyOf: [
    { type: 'null' },
    {
      type: 'object',
      additionalProperties: false,
      properties: { id: { type: 'integer', minimum: 1, maximum: 2_147_483_647 } },
    },
  ],
} as const;

function sse(event: string, data: object): string {
  return `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}
