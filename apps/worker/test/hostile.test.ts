import { createLockstep } from '@lockstep/core';
import { memoryCache, memoryQueue, memoryStore } from '@lockstep/core/memory';
import { startChromium } from '@lockstep/dev-services/chromium';
import axe from 'axe-core';
import pino from 'pino';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startWorker, type Worker } from '../src/index.js';
import { until } from './support/until.js';

// Names, ids, values and errors come from applications and from whoever writes to cache and queue: the page shows them as text.
const EVIL = `"'><img src=x onerror=pwned=1><script>pwned=1</script>`;
const PAGES = ['overview', 'processes', 'collections', 'inspect', 'consistency', 'letters'] as const;

let browser: Browser;
let worker: Worker;
let page: Page;
const troubles: string[] = [];

beforeAll(async () => {
  const queue = memoryQueue();
  const lockstep = createLockstep({ cache: memoryCache(), queue, announce: { name: EVIL } });
  const store = memoryStore<object>({ name: EVIL });
  const products = lockstep.collection<object>({ name: EVIL, store, strategy: 'write-behind' });
  await products.put(EVIL, { [EVIL]: EVIL });
  const logger = pino({ enabled: false });
  [browser, worker] = await Promise.all([
    startChromium(),
    startWorker({ lockstep: () => lockstep, port: 0, logger }),
  ]);
  const refused = { version: 1, payload: EVIL, encoding: 'utf8' } as const;
  await queue.enqueue([{ kind: 'flush', collection: EVIL, key: EVIL, refused }]);
  await until('it is a dead letter', async () => (await queue.status()).dead === 1);
  page = await browser.newPage({ viewport: { width: 320, height: 640 } });
  page.on('pageerror', (error) => troubles.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') troubles.push(message.text());
  });
  await page.goto(worker.url);
});
afterAll(async () => {
  await browser?.close();
  await worker?.close();
});

test('what others have written is text, on every page, in the narrowest window', async () => {
  await page.locator('#nav a[href="#inspect"]').click();
  await expect.poll(() => page.locator('#inspect-collection').inputValue()).toBe(EVIL);
  await page.locator('#inspect-id').fill(JSON.stringify(EVIL));
  await page.locator('#inspect-values').check();
  await page.getByRole('button', { name: 'Look', exact: true }).click();
  await expect.poll(() => page.locator('#entry-value').textContent()).toContain('onerror');
  await page.locator('#nav a[href="#letters"]').click();
  await page.getByRole('button', { name: 'Show the value' }).click();
  await expect.poll(() => page.locator('#letters-rows').textContent()).toContain(`${EVIL}`);
  for (const name of PAGES) {
    await page.locator(`#nav a[href="#${name}"]`).click();
    await expect.poll(() => page.locator(`#${name}`).isVisible()).toBe(true);
    const overflow = 'document.documentElement.scrollWidth - document.documentElement.clientWidth';
    expect(await page.evaluate(overflow), name).toBe(0);
    await page.evaluate(axe.source);
    const { violations } = await page.evaluate<axe.AxeResults>('axe.run()');
    expect(
      violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`),
      name,
    ).toEqual([]);
  }
  expect(
    await page.evaluate(
      '[typeof pwned, document.querySelectorAll("main img, main script, main svg").length]',
    ),
  ).toEqual(['undefined', 0]);
  expect(troubles).toEqual([]);
});
