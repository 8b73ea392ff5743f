/**
 * The classic form over an HTTP API: the system of record is a service that somebody else runs. Its
 * records carry a revision that grows with each change, so that the cache can tell old from new.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { type CallbackContext, callbackStore, createLockstep, StoreRefusedError } from '@lockstep/core';
import { memoryCache } from '@lockstep/core/memory';

interface Customer {
  readonly name: string;
  /** Assigned by the service. */
  readonly revision: number;
}

// The service: a real HTTP server on loopback, which counts what it is asked.
const records = new Map<string, Customer>();
let requests = 0;
const server = createServer(async (request, response) => {
  requests += 1;
  const path = request.url ?? '/';
  const send = (status: number, body?: Customer): void => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(body && JSON.stringify(body));
  };
  if (request.method === 'PUT') {
    const sent: { name?: string } = JSON.parse(await text(request));
    if (sent.name === undefined || sent.name === '') return send(422);
    const stored = { name: sent.name, revision: (records.get(path)?.revision ?? 0) + 1 };
    records.set(path, stored);
    return send(200, stored);
  }
  const found = records.get(path);
  return found === undefined ? send(404) : send(200, found);
});
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const address = server.address();
assert.ok(address !== null && typeof address === 'object');
const base = `http://127.0.0.1:${address.port}/customers/`;

/** The application's own functions. */
async function fetchCustomer(id: string, { signal }: CallbackContext): Promise<Customer | undefined> {
  const response = await fetch(base + encodeURIComponent(id), { signal });
  if (response.status === 404) return undefined;
  if (!response.ok) throw new Error(`the service answered ${response.status}`);
  const customer: Customer = JSON.parse(await response.text());
  return customer;
}

async function sendCustomer(id: string, customer: Customer, { signal }: CallbackContext): Promise<Customer> {
  const response = await fetch(base + encodeURIComponent(id), {
    method: 'PUT',
    body: JSON.stringify({ name: customer.name }),
    signal,
  });
  // The service says for sure that it has not stored it; of any other failure nobody knows.
  if (response.status === 422) throw new StoreRefusedError('the service refused the customer', { key: id });
  if (!response.ok) throw new Error(`the service answered ${response.status}`);
  const stored: Customer = JSON.parse(await response.text());
  return stored;
}

const lockstep = createLockstep({ cache: memoryCache() });
try {
  const customers = lockstep.collection({
    name: 'customers',
    store: callbackStore<Customer>({
      name: 'crm',
      read: fetchCustomer,
      write: sendCustomer,
      version: (customer) => customer.revision,
    }),
  });

  // The service assigns the revision; what it returns is what is cached.
  const first = await customers.put('ada', { name: 'Ada', revision: 0 });
  assert.equal(first.version, 1);
  const asked = requests;
  assert.deepEqual(await customers.get('ada'), { name: 'Ada', revision: 1 });
  assert.equal(requests, asked, 'a written customer is read from the cache');

  // What the service refuses leaves the cache as it was (G1).
  await assert.rejects(customers.put('ada', { name: '', revision: 0 }), StoreRefusedError);
  assert.equal((await customers.get('ada'))?.name, 'Ada');

  // Fifty readers of a customer that is not cached: one request (G8).
  records.set('/customers/grace', { name: 'Grace', revision: 7 });
  const before = requests;
  await Promise.all(Array.from({ length: 50 }, () => customers.get('grace')));
  assert.equal(requests, before + 1);

  // Somebody else changed it through the service: `fresh` asks it, and the cache has it from then on.
  records.set('/customers/grace', { name: 'Grace Hopper', revision: 8 });
  assert.equal((await customers.get('grace', { fresh: true }))?.name, 'Grace Hopper');
  assert.equal((await customers.get('grace'))?.name, 'Grace Hopper');

  // Without a collection: one record, with the functions in place.
  const vip = lockstep.through<Customer>({
    namespace: 'vip',
    id: 'ada',
    reader: fetchCustomer,
    writer: sendCustomer,
    ttlMs: 60_000,
  });
  assert.equal((await vip.read())?.name, 'Ada');
  await vip.write({ name: 'Ada Lovelace', revision: 0 });
  assert.equal((await vip.read())?.name, 'Ada Lovelace');
  console.log(`customers over HTTP: ${requests} requests`);
} finally {
  await lockstep.close();
  server.close();
}
