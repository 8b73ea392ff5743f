import { LockstepError } from '@lockstep/core';
import { type FastifyInstance, type FastifyReply, fastify } from 'fastify';
import type { WriteAnswer } from '../engines/engine.js';
import type { Meter } from '../measure.js';
import {
  MAX_ID,
  MAX_PRICE,
  MAX_STOCK,
  MAX_TEXT_LENGTH,
  type Product,
  type ProductChange,
} from '../products.js';
import type { Catalogue } from './catalogue.js';

/** The most ids of one `GET /products?ids=`. */
const MAX_IDS = 200;

const FIELDS = {
  name: { type: 'string', minLength: 1, maxLength: MAX_TEXT_LENGTH },
  category: { type: 'string', minLength: 1, maxLength: MAX_TEXT_LENGTH },
  price: { type: 'integer', minimum: 0, maximum: MAX_PRICE },
  stock: { type: 'integer', minimum: -MAX_STOCK, maximum: MAX_STOCK },
  description: { type: 'string', maxLength: 200_000 },
} as const;

/** Paths are text; the range is checked with the number. */
const PARAMS = {
  type: 'object',
  required: ['id'],
  properties: { id: { type: 'string', pattern: '^[0-9]{1,10}$' } },
} as const;

const WHOLE = {
  type: 'object',
  required: Object.keys(FIELDS),
  additionalProperties: false,
  properties: { ...FIELDS, id: { type: 'integer' } },
} as const;

const CHANGE = { type: 'object', minProperties: 1, additionalProperties: false, properties: FIELDS } as const;

const QUERY = {
  type: 'object',
  required: ['ids'],
  properties: { ids: { type: 'string', pattern: '^[0-9]{1,10}(,[0-9]{1,10})*$' } },
} as const;

/** An answer that says what the client did wrong. */
class RequestError extends Error {
  readonly statusCode: number;
  readonly code: string;
  constructor(statusCode: number, code: string, message: string) {
    super(message);
    this.statusCode = statusCode;
    this.code = code;
  }
}

/** The shop's HTTP API over a catalogue. Errors are `{ code, message }`. */
export function shopApi(catalogue: Catalogue, meter: Meter): FastifyInstance {
  const api = fastify({
    bodyLimit: 1_048_576,
    // A value that does not fit is an error; it is not coerced.
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false } },
  });
  const schema = { params: PARAMS };

  api.setErrorHandler(
    (error: Error & { code?: string; statusCode?: number; validation?: unknown }, _, reply) => {
      const status = statusOf(error);
      const code = error.validation === undefined ? (error.code ?? 'INTERNAL') : 'VALIDATION';
      return reply.status(status).send({ code, message: error.message });
    },
  );
  api.setNotFoundHandler((_, reply) =>
    reply.status(404).send({ code: 'NO_ROUTE', message: 'known are /products/:id and /products?ids=1,2,3' }),
  );

  api.get('/health', () => ({ ok: true }));

  api.get<{ Params: { id: string } }>('/products/:id', { schema }, async ({ params, headers }, reply) => {
    meter.count('httpReads');
    const { product, version, hit } = await catalogue.read(idOf(params.id));
    reply.header('x-lockstep-cache', hit ? 'hit' : 'miss');
    if (product === null) throw notFound(params.id);
    tagged(reply, version);
    if (headers['if-none-match'] === `"${version}"`) return reply.status(304).send();
    return { ...product, version };
  });

  api.get<{ Querystring: { ids: string } }>(
    '/products',
    { schema: { querystring: QUERY } },
    async ({ query }) => {
      const ids = query.ids.split(',').map(idOf);
      if (ids.length > MAX_IDS) throw new RequestError(400, 'VALIDATION', `ids: at most ${MAX_IDS}`);
      meter.count('httpReads', ids.length);
      const answers = await Promise.all(ids.map((id) => catalogue.read(id)));
      const products = answers.map(({ product, version, hit }, position) => {
        const cache = hit ? 'hit' : 'miss';
        return product === null
          ? { id: ids[position], missing: true, cache }
          : { ...product, version, cache };
      });
      return { products };
    },
  );

  api.put<{ Params: { id: string }; Body: Omit<Product, 'id'> & { id?: number } }>(
    '/products/:id',
    { schema: { ...schema, body: WHOLE } },
    async ({ params, body }, reply) => {
      meter.count('httpWrites');
      const id = idOf(params.id);
      if (body.id !== undefined && body.id !== id) {
        throw new RequestError(400, 'VALIDATION', `body/id: must be ${id} or absent`);
      }
      return written(reply, id, await catalogue.put({ ...body, id }));
    },
  );

  api.patch<{ Params: { id: string }; Body: ProductChange }>(
    '/products/:id',
    { schema: { ...schema, body: CHANGE } },
    async ({ params, body }, reply) => {
      meter.count('httpWrites');
      const id = idOf(params.id);
      return written(reply, id, await catalogue.patch(id, body));
    },
  );

  api.delete<{ Params: { id: string } }>('/products/:id', { schema }, async ({ params }, reply) => {
    meter.count('httpWrites');
    const id = idOf(params.id);
    return written(reply, id, await catalogue.remove(id));
  });

  return api;
}

function written(reply: FastifyReply, id: number, answer: WriteAnswer | undefined) {
  if (answer === undefined) throw notFound(String(id));
  const { product, version, cache } = answer;
  if (version > 0) tagged(reply, version);
  return product === null ? { id, version, cache } : { ...product, version, cache };
}

function tagged(reply: FastifyReply, version: number): void {
  reply.header('etag', `"${version}"`).header('x-lockstep-version', String(version));
}

function idOf(text: string): number {
  const id = Number(text);
  if (Number.isInteger(id) && id >= 1 && id <= MAX_ID) return id;
  throw new RequestError(400, 'VALIDATION', `id: must be a whole number from 1 to ${MAX_ID}`);
}

function notFound(id: string): RequestError {
  return new RequestError(404, 'NOT_FOUND', `there is no product ${id}`);
}

function statusOf(error: Error & { statusCode?: number }): number {
  if (!(error instanceof LockstepError)) return error.statusCode ?? 500;
  if (error.code === 'LOCKSTEP_VALIDATION' || error.code === 'LOCKSTEP_INVALID_ID') return 400;
  if (error.code === 'LOCKSTEP_STORE_REFUSED') return 422;
  return error.code === 'LOCKSTEP_CONFLICT' ? 409 : 503;
}
