import { type FastifyInstance, fastify } from 'fastify';
import { FaultError } from '../faults/injector.js';
import { LOOPBACK } from '../naming.js';
import { CATEGORIES } from '../products.js';
import type { StoreKind } from '../stores/store.js';
import { type Assets, readAssets } from './assets.js';
import { Buttons, isButtonName } from './buttons.js';
import type { PageContent } from './content.js';
import { statusOf } from './status.js';
import { Watchers } from './watchers.js';

interface Shown {
  readonly content: PageContent;
  readonly buttons: Buttons;
  readonly watchers: Watchers;
}

/** An answer while everything is still being started. */
class NotYetError extends Error {
  readonly statusCode = 503;
  readonly code = 'STARTING';
  constructor() {
    super('the shop is being started');
  }
}

/** The page, what feeds it, and what its buttons do. */
export class PageServer {
  readonly url: string;
  readonly #server: FastifyInstance;
  #shown: Shown | undefined;

  private constructor(server: FastifyInstance, url: string) {
    this.#server = server;
    this.url = url;
  }

  /** Listens; port 0 is any. Rejects with a message that names `--port` when it is taken. */
  static async open(port: number, store: StoreKind): Promise<PageServer> {
    const server = fastify({ forceCloseConnections: true });
    guard(server);
    serve(server, await readAssets(store));
    let page: PageServer | undefined;
    route(server, () => {
      const shown = page?.shown;
      if (shown === undefined) throw new NotYetError();
      return shown;
    });
    server.get('/status', () => {
      if (page?.shown === undefined) throw new NotYetError();
      return statusOf(page.shown.content, page.url);
    });
    try {
      await server.listen({ host: LOOPBACK, port });
    } catch (error) {
      const taken = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE';
      if (taken) throw new Error(`--port: ${port} is in use`, { cause: error });
      throw error;
    }
    const address = server.server.address();
    const bound = address === null || typeof address === 'string' ? port : address.port;
    page = new PageServer(server, `http://${LOOPBACK}:${bound}/`);
    return page;
  }

  /** Undefined while everything is still being started. */
  get shown(): Shown | undefined {
    return this.#shown;
  }

  show(content: PageContent): void {
    const watchers = new Watchers(content, () => statusOf(content, this.url));
    this.#shown = { content, buttons: new Buttons(content), watchers };
  }

  async stop(): Promise<void> {
    this.#shown?.buttons.stop();
    this.#shown?.watchers.stop();
    await this.#server.close();
  }
}

/** A page of another origin, or a name that somebody points at this machine, must not press the buttons. */
function guard(server: FastifyInstance): void {
  server.addHook('onRequest', async ({ headers }, reply) => {
    const host = headers.host ?? '';
    const known = /^(127\.0\.0\.1|localhost|\[::1\])(:\d+)?$/.test(host);
    const same = headers.origin === undefined || headers.origin === `http://${host}`;
    if (known && same) return;
    await reply.status(403).send({ code: 'FORBIDDEN', message: 'only for this machine’s own page' });
  });
  server.setErrorHandler((error: Error & { statusCode?: number; code?: string }, _, reply) => {
    const refused = error instanceof FaultError;
    const code = refused ? 'NOT_NOW' : (error.code ?? 'INTERNAL');
    return reply.status(refused ? 409 : (error.statusCode ?? 500)).send({ code, message: error.message });
  });
}

function serve(server: FastifyInstance, { files, scriptHashes }: Assets): void {
  const policy =
    `default-src 'self'; script-src 'self' ${scriptHashes.join(' ')}; style-src 'self' 'unsafe-inline'; ` +
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
  for (const [path, { type, body }] of files) {
    server.get(path, (_, reply) =>
      reply.headers({ 'content-security-policy': policy, 'cache-control': 'no-cache' }).type(type).send(body),
    );
  }
}

function route(server: FastifyInstance, shown: () => Shown): void {
  server.get('/events', (_, reply) => {
    const { watchers } = shown();
    if (watchers.full) {
      return reply.status(503).send({ code: 'TOO_MANY', message: 'too many pages are open' });
    }
    reply.hijack();
    watchers.add(reply.raw);
    return reply;
  });
  server.get<{ Params: { id: string } }>('/inspect/:id', { schema: ID }, ({ params }) =>
    shown().content.shop.applications.inspect(Number(params.id)),
  );
  server.get<{ Querystring: { category: string; product: string } }>(
    '/window',
    { schema: WINDOW },
    async ({ query: { category, product } }) => {
      const looking = shown().content.shop.applications.window(category, Number(product));
      // No application may be there to be asked: that is what the page is for.
      return { view: await looking.catch(() => null) };
    },
  );
  server.post<{ Params: { name: string }; Body: { id?: number } | null }>(
    '/faults/:name',
    { schema: { body: FAULT_BODY } },
    async ({ params: { name }, body }, reply) => {
      if (!isButtonName(name)) {
        return reply.status(404).send({ code: 'NO_FAULT', message: `there is no fault ${name}` });
      }
      return reply.status(202).send(await shown().buttons.press(name, body?.id));
    },
  );
}

const ID = {
  params: { type: 'object', properties: { id: { type: 'string', pattern: '^[1-9][0-9]{0,9}$' } } },
} as const;

const WINDOW = {
  querystring: {
    type: 'object',
    required: ['category', 'product'],
    properties: {
      category: { type: 'string', enum: CATEGORIES },
      product: { type: 'string', pattern: '^[1-9][0-9]{0,9}$' },
    },
  },
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
