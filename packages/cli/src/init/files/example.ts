import { dirname, posix } from 'node:path';
import { memoryStoreOf } from './config.js';
import { type Layout, lines, typed } from './layout.js';

function configFrom({ config }: Layout, file: string): string {
  return posix.relative(dirname(file), config);
}

/** An application: one collection over HTTP. */
export function exampleFile(layout: Layout): string {
  const { entities, hasWorker } = layout;
  const [{ collection, idType, sample, sampleId, type }] = entities;
  const idOf = idType === 'number' ? 'Number(match[1])' : 'String(match[1])';
  const id = sampleId.replaceAll("'", '');
  const seeded = layout.choices.store === 'memory';
  return lines(
    `/** One collection over HTTP: GET and PUT /${collection}/${id}. To look at; delete it when you have. */`,
    "import { createServer } from 'node:http';",
    `import { connect${typed(layout, `, type ${type}`)} } from '${configFrom(layout, layout.example)}';`,
    '',
    `const { ${collection}, close, lockstep } = connect();`,
    '// Rejects with everything that is wrong: a table that is missing or not attached, a server, a password.',
    'await lockstep.open();',
    !hasWorker && '// Without a worker this process brings the cache in step with what others write.',
    !hasWorker && 'const relay = lockstep.startRelay();',
    seeded && `await ${collection}.put(${sampleId}, ${sample});`,
    '',
    'const server = createServer(async (request, response) => {',
    '  const answer = (status' +
      typed(layout, ': number', '') +
      ', body' +
      typed(layout, ': unknown', '') +
      ') =>',
    "    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));",
    '  try {',
    `    const match = /^\\/${collection}\\/(\\w+)$/.exec(request.url ?? '');`,
    `    if (match === null) return answer(404, { error: 'GET or PUT /${collection}/ID' });`,
    `    const id = ${idOf};`,
    "    if (request.method === 'PUT') {",
    "      let text = '';",
    '      for await (const chunk of request) text += chunk;',
    typed(
      layout,
      `      const value = { ...(JSON.parse(text) as ${type}), ${idField(layout)} };`,
      `      const value = { ...JSON.parse(text), ${idField(layout)} };`,
    ),
    `      const { cache, version } = await ${collection}.put(id, value);`,
    '      return answer(200, { value, cache, version });',
    '    }',
    `    const { from, value } = await ${collection}.getVersioned(id);`,
    '    return answer(value === undefined ? 404 : 200, { value: value ?? null, from });',
    '  } catch (error) {',
    '    return answer(500, { error: error instanceof Error ? error.message : String(error) });',
    '  }',
    '});',
    '',
    "server.listen(Number(process.env['PORT'] ?? 3000), '127.0.0.1', () => {",
    typed(
      layout,
      '  const { port } = server.address() as { port: number };',
      '  const { port } = server.address();',
    ),
    `  console.log(\`http://127.0.0.1:\${port}/${collection}/${id}\`);`,
    '});',
    "for (const signal of ['SIGINT', 'SIGTERM']) {",
    '  process.once(signal, async () => {',
    '    server.close();',
    !hasWorker && '    await relay.stop();',
    '    await close();',
    '  });',
    '}',
  );
}

function idField({ entities }: Layout): string {
  return entities[0].where === 'mongo' ? '_id: id' : 'id';
}

/** A test without servers, which runs at once. */
export function testFile(layout: Layout): string {
  const { entities, project } = layout;
  const [first] = entities;
  const isVitest = project.testRunner === 'vitest';
  const equal = (actual: string, expected: string): string =>
    isVitest ? `  expect(${actual}).toEqual(${expected});` : `  assert.deepEqual(${actual}, ${expected});`;
  const types = entities.map(({ type }) => `type ${type}`).join(', ');
  const stores = entities.map(
    ({ collection, idType, type }) =>
      `    ${collection}: ${memoryStoreOf(layout, { collection, idType, type })},`,
  );
  const { collection, counted, sample, sampleId } = first;
  return lines(
    '/** Your own code can be tested like this: the real engine on stores and a cache in memory, without servers. */',
    !isVitest && "import assert from 'node:assert/strict';",
    isVitest ? "import { expect, test } from 'vitest';" : "import { test } from 'node:test';",
    "import { createLockstep } from '@lockstep/core';",
    "import { memoryCache, memoryStore } from '@lockstep/core/memory';",
    `import { declareCollections${typed(layout, `, ${types}`)} } from '${configFrom(layout, layout.test)}';`,
    '',
    "test('a write is what the next read finds in the cache', async () => {",
    '  const lockstep = createLockstep({ cache: memoryCache() });',
    `  const { ${collection} } = declareCollections(lockstep, {`,
    ...stores,
    '  });',
    `  const written = await ${collection}.put(${sampleId}, ${sample});`,
    equal('written.cache', "'updated'"),
    `  await ${collection}.increment(${sampleId}, '${counted}', -1);`,
    equal(`await ${collection}.get(${sampleId})`, sample.replace(/7 }$/, '6 }')),
    equal(`(await ${collection}.getVersioned(${sampleId})).from`, "'cache'"),
    '  await lockstep.close();',
    '});',
  );
}
