import { readdir, readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import type { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { InvalidOptionError, type Lockstep } from '@lockstep/core';
import type { Queue } from 'bullmq';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { withAdapter } from '../config/adapters.js';
import type { Asset } from './assets.js';
import { HEADERS } from './listener.js';

/** Where the board is, and everything that it asks for. */
export const BOARD = '/queues';
const MAX_JOBS = 50;
const HIDDEN = 'hidden: the dashboard shows it among the dead letters';
const TYPES: Readonly<Record<string, string>> = {
  '.css': 'text/css; charset=utf-8',
  '.ico': 'image/x-icon',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
};
/** Its addresses are relative to a base of its own. Whatever it would load from others stays blocked. */
const POLICY = HEADERS['content-security-policy'].replace("base-uri 'none'", "base-uri 'self'");

type Handler = (request: object) => Promise<{ readonly status?: number; readonly body: unknown }>;

interface Route {
  readonly method: string | readonly string[];
  readonly route: string | readonly string[];
  readonly handler: Handler;
}

/** bull-board for one queue, which is added once its server answers. */
interface Board {
  readonly page: Buffer;
  readonly files: ReadonlyMap<string, Asset>;
  /** Those that read. */
  readonly routes: readonly Route[];
  /** Rejects with `QueueUnavailableError`. */
  readonly queues: () => Promise<ReadonlyMap<string, unknown>>;
}

/** BullMQ's own queue, as an adapter on BullMQ hands it out. */
type Raw = () => Promise<Queue>;

/**
 * Mounts bull-board for the raw queue, read-only: what would change a job is not there, and values of jobs are hidden, as
 * are the reasons why they failed.
 * Rejects with `InvalidOptionError` where it is not installed, or the queue is not BullMQ's.
 */
export async function mountBullBoard(
  server: FastifyInstance,
  { queue }: Lockstep,
  ask: (reply: FastifyReply, call: () => Promise<unknown>) => Promise<unknown>,
): Promise<void> {
  const raw = (queue as { readonly raw?: Raw } | undefined)?.raw?.bind(queue);
  if (raw === undefined) throw new InvalidOptionError('worker.bullBoard', 'needs a queue on BullMQ');
  const { files, page, queues, routes } = await withAdapter('worker.bullBoard', () => boardOf(raw));
  const send = (reply: FastifyReply, { body, type }: Asset): FastifyReply => reply.type(type).send(body);
  const entry = { type: 'text/html; charset=utf-8', body: page };
  for (const path of ['', '/', '/job-schedulers', '/queue/:queueName', '/queue/:queueName/:jobId'])
    server.get(BOARD + path, async (_, reply) =>
      send(reply.header('content-security-policy', POLICY), entry),
    );
  for (const [path, file] of files)
    server.get(`${BOARD}/static${path}`, async (_, reply) => send(reply, file));
  for (const { handler, route } of routes) {
    for (const path of [route].flat()) {
      server.get(BOARD + path, async ({ params, query }, reply) =>
        ask(reply, async () => {
          const { body, status = 200 } = await handler({
            queues: await queues(),
            uiConfig: {},
            params,
            query: bounded(query as Readonly<Record<string, unknown>>),
            body: {},
            headers: {},
          });
          reply.code(status);
          return withoutReasons(body);
        }),
      );
    }
  }
}

/** Whoever asks for a page of all jobs at once gets a page. Throws `InvalidOptionError` for what bull-board would fail at. */
function bounded(query: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const { activeQueue, jobsPerPage } = query;
  if (typeof activeQueue === 'string' && !isEncoded(activeQueue))
    throw new InvalidOptionError('activeQueue', 'must be the name of a queue, encoded for an address');
  return jobsPerPage === undefined
    ? query
    : { ...query, jobsPerPage: String(Math.min(Number(jobsPerPage) || MAX_JOBS, MAX_JOBS)) };
}

function isEncoded(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

interface Shown {
  readonly job?: object;
  readonly queues?: readonly { readonly jobs: readonly object[] }[];
}

/** An answer without the words of stores, which may name values of the row that they refused. */
function withoutReasons(body: unknown): unknown {
  if (typeof body !== 'object' || body === null) return body;
  const hide = (job: object): object =>
    'failedReason' in job && job.failedReason
      ? { ...job, failedReason: HIDDEN, stacktrace: [] }
      : { ...job, stacktrace: [] };
  const { job, queues } = body as Shown;
  if (job !== undefined) return { ...body, job: hide(job) };
  if (queues === undefined) return body;
  return { ...body, queues: queues.map((queue) => ({ ...queue, jobs: queue.jobs.map(hide) })) };
}

async function boardOf(raw: Raw): Promise<Board> {
  const [{ createBullBoard }, { BullMQAdapter }] = await Promise.all([
    import('@bull-board/api'),
    import('@bull-board/api/bullMQAdapter'),
  ]);
  const parts = new Parts();
  const { addQueue } = createBullBoard({
    queues: [],
    serverAdapter: parts,
    options: { uiConfig: { boardTitle: 'Lockstep · raw queues' } },
  } as Parameters<typeof createBullBoard>[0]);
  let adding: Promise<void> | undefined;
  return {
    page: Buffer.from(await parts.page()),
    files: await parts.files(),
    routes: parts.routes.filter(({ method, route }) => method === 'get' && !String(route).endsWith('/flow')),
    queues: async () => {
      adding ??= raw().then((queue) => addQueue(adapterOf(BullMQAdapter, queue)));
      try {
        await adding;
      } catch (error) {
        adding = undefined;
        throw error;
      }
      return parts.queues;
    },
  };
}

function adapterOf(Adapter: typeof BullMQAdapter, queue: Queue): BullMQAdapter {
  const adapter = new Adapter(queue, { readOnlyMode: true });
  adapter.setFormatter('data', withoutValues);
  for (const field of ['progress', 'returnValue'] as const) adapter.setFormatter(field, () => null);
  return adapter;
}

/** The fields of a job that hold no values. Whoever may write to the queue may have written others. */
function withoutValues(data: unknown): object {
  if (typeof data !== 'object' || data === null) return { kind: 'unreadable' };
  const { collection, key, kind, refused, version } = data as Readonly<Record<string, unknown>>;
  const plain = Object.entries({ kind, collection, key, version }).filter(
    ([, value]) => typeof value === 'string' || typeof value === 'number',
  );
  return {
    ...Object.fromEntries(plain),
    ...(refused === undefined ? {} : { refused: HIDDEN }),
  };
}

/** What bull-board hands to a server, which this is not: each setter returns it, as bull-board expects. */
class Parts {
  routes: readonly Route[] = [];
  queues: ReadonlyMap<string, unknown> = new Map();
  #views = '';
  #static = '';
  #config: object = {};
  #entry: ((config: object) => { readonly params: Readonly<Record<string, string>> }) | undefined;

  setQueues(queues: ReadonlyMap<string, unknown>): this {
    this.queues = queues;
    return this;
  }

  setViewsPath(path: string): this {
    this.#views = path;
    return this;
  }

  setStaticPath(_route: string, path: string): this {
    this.#static = path;
    return this;
  }

  setUIConfig(config: object): this {
    this.#config = config;
    return this;
  }

  setEntryRoute({ handler }: { readonly handler: NonNullable<Parts['entry']> }): this {
    this.#entry = handler;
    return this;
  }

  setErrorHandler(): this {
    return this;
  }

  setApiRoutes(routes: readonly Route[]): this {
    this.routes = routes;
    return this;
  }

  get entry() {
    return this.#entry;
  }

  /** Its page, without the fonts of another host and without styles in place, which the policy would block. */
  async page(): Promise<string> {
    const template = await readFile(join(this.#views, 'index.ejs'), 'utf8');
    const { params = {} } = this.#entry?.({ basePath: BOARD, uiConfig: this.#config }) ?? {};
    return template
      .replace(/<link href="https?:[^>]*>/g, '')
      .replace(/<style>[\s\S]*?<\/style>| style="[^"]*"/g, '')
      .replace(/<%[-=]\s*(\w+)\s*%>/g, (_, name: string) => params[name] ?? '');
  }

  async files(): Promise<ReadonlyMap<string, Asset>> {
    const all = await readdir(this.#static, { recursive: true, withFileTypes: true });
    const found = all.filter((file) => file.isFile() && TYPES[extname(file.name)] !== undefined);
    const read = found.map(async ({ name, parentPath }) => {
      const path = join(parentPath, name);
      const type = TYPES[extname(name)] as string;
      const url = path.slice(this.#static.length).replaceAll('\\', '/');
      return [url, { type, body: await readFile(path) }] as const;
    });
    return new Map(await Promise.all(read));
  }
}
