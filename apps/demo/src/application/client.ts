import { Agent, request } from 'node:http';
import type { Meter } from '../measure.js';
import type { Product, ProductChange } from '../products.js';

const TIMEOUT_MS = 15_000;

/** A customer of this process's own HTTP API. */
export interface ShopClient {
  get(id: number): Promise<void>;
  put(product: Product): Promise<void>;
  /** False: there is no such product. */
  patch(id: number, change: ProductChange): Promise<boolean>;
  remove(id: number): Promise<void>;
  close(): void;
}

/**
 * Makes a client. What the API answers, failures included, is counted there; an exchange that breaks off, or
 * an answer that is not the API's, is counted here.
 */
export function shopClient(url: string, meter: Meter): ShopClient {
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });

  async function send(method: string, id: number, body?: object): Promise<boolean> {
    const startMs = performance.now();
    const read = method === 'GET';
    try {
      const status = await exchange(agent, `${url}/products/${id}`, method, body);
      meter.time('httpMs', performance.now() - startMs);
      if (status === 404 || status < 300) return status !== 404;
      // 5xx has been counted by the API's own side.
      if (status >= 500) return true;
      throw new Error(`${method} answered ${status}`);
    } catch (error) {
      meter.count(read ? 'failedReads' : 'failedWrites');
      meter.failure('http', error);
      throw error;
    }
  }

  return {
    async get(id) {
      await send('GET', id);
    },
    async put(product) {
      await send('PUT', product.id, product);
    },
    patch: (id, change) => send('PATCH', id, change),
    async remove(id) {
      await send('DELETE', id);
    },
    close() {
      agent.destroy();
    },
  };
}

function exchange(agent: Agent, url: string, method: string, body: object | undefined): Promise<number> {
  return new Promise((resolve, reject) => {
    const payload = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
    const headers =
      payload === undefined ? {} : { 'content-type': 'application/json', 'content-length': payload.length };
    const sent = request(url, { agent, method, headers, timeout: TIMEOUT_MS }, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode ?? 0));
      response.on('error', reject);
    });
    sent.on('timeout', () => sent.destroy(new Error(`${method} got no answer in ${TIMEOUT_MS} ms`)));
    sent.on('error', reject);
    sent.end(payload);
  });
}
