import { createLockstep, type QueueAdapter } from '@lockstep/core';
import { memoryCache, memoryQueue, memoryStore } from '@lockstep/core/memory';
import { startChromium } from '@lockstep/dev-services/chromium';
import axe from 'axe-core';
import pino from 'pino';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startWorker, type Worker } from '../src/index.js';
import { until } from './support/until.js';

interface Product {
  readonly id: string;
  readonly name: string;
}

const PAGES = ['overview', 'processes', 'collections', 'inspect', 'consistency', 'letters'] as const;
const TOKEN = 'correct horse battery staple';
const SECRET = 'a name that nobody must see unasked';

let browser: Browser;
let worker: Worker;
let queue: QueueAdapter;
let page: Page;
const troubles: string[] = [];
const foreign: string[] = [];

beforeAll(async () => {
  queue = memoryQueue();
  const lockstep = createLockstep({ cache: memoryCache(), queue, announce: { name: 'worker-1' } });
  const store = memoryStore<Product>({ name: 'products' });
  const products = lockstep.collection<Product>({
    name: 'products',
    store,
    strategy: 'write-behind',
    near: { maxItems: 100, maxBytes: 100_000 },
  });
  for (const id of ['lamp', 'chair']) await products.put(id, { id, name: SECRET });
  await products.getMany(['lamp', 'lamp', 'chair', 'nothing']);
  while ((await products.getVersioned('lamp')).from !== 'near');
  [browser, worker] = await Promise.all([
    startChromium(),
    startWorker({
      lockstep: () => lockstep,
      port: 0,
      token: TOKEN,
      bullBoardUrl: 'https://queues.example/',
      logger: pino({ enabled: false }),
    }),
  ]);
  for (const key of ['lamp', 'chair']) {
    const refused = { version: 1, payload: `{"id":"${key}","name":"${SECRET}`, encoding: 'utf8' } as const;
    await queue.enqueue([{ kind: 'flush', collection: 'products', key, refused }]);
  }
  await until('they are dead letters', async () => (await queue.status()).dead === 2);
  page = await browser.newPage({ viewport: { width: 1280, height: 900 }, colorScheme: 'light' });
  page.on('pageerror', (error) => troubles.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') troubles.push(message.text());
  });
  page.on('request', (request) => {
    if (!request.url().startsWith(worker.url)) foreign.push(request.url());
  });
  page.on('dialog', (dialog) => void dialog.accept());
  await page.goto(worker.url);
});
afterAll(async () => {
  await browser?.close();
  await worker?.close();
});

const text = (id: string): Promise<string | null> => page.locator(`#${id}`).textContent();
const open = async (name: (typeof PAGES)[number]): Promise<void> => {
  await page.locator(`#nav a[href="#${name}"]`).click();
  await expect.poll(() => page.locator(`#${name}`).isVisible()).toBe(true);
};

async function violations(): Promise<string[]> {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate<axe.AxeResults>('axe.run()');
  return violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`);
}

describe('the page', () => {
  test('asks for the token, and lets nobody in without it', async () => {
    await expect.poll(() => page.locator('#login').isVisible()).toBe(true);
    expect(await violations()).toEqual([]);
    await page.locator('#token').fill('a token that is wrong');
    await page.keyboard.press('Enter');
    await expect.poll(() => text('login-said')).toContain('not the token');
    expect(await page.locator('#nav').isVisible()).toBe(false);
    // The browser reports the refusal as an error of its own; it is what was asked for.
    troubles.splice(
      troubles.findIndex((trouble) => trouble.includes('401')),
      1,
    );
    await page.locator('#token').fill(TOKEN);
    await page.keyboard.press('Enter');
    await expect.poll(() => page.locator('#nav').isVisible()).toBe(true);
  });

  test('shows what is happening, live', async () => {
    await expect.poll(() => text('state')).toBe('ready');
    expect(await text('run')).toContain('worker-1');
    for (const chart of ['reads', 'near', 'buffer', 'breakers'])
      expect(await page.locator(`#chart-${chart} canvas`).count()).toBe(1);
    await expect.poll(() => text('dead-count')).toBe('2');
    await expect.poll(() => text('hits')).toMatch(/^(–|\d)/);
  });

  test('is walked by keyboard: each link leads to its page, whose title has the focus', async () => {
    for (const name of PAGES) {
      await page.locator(`#nav a[href="#${name}"]`).focus();
      await page.keyboard.press('Enter');
      await expect.poll(() => page.evaluate('document.activeElement.id')).toBe(`${name}-title`);
      expect(await page.locator('main > section:visible').count()).toBe(1);
    }
  });

  test('names processes, and collections with their settings and figures', async () => {
    await open('processes');
    await expect.poll(() => text('processes-rows')).toContain('worker-1 (this worker)');
    await open('collections');
    await page.getByText('Settings', { exact: true }).click();
    const card = page.locator('.part');
    await expect.poll(() => card.textContent()).toContain('write-behind');
    expect(await card.textContent()).toContain('misses: absent');
    expect(await card.textContent()).toMatch(
      /near entries[1-9].*near bytes\d+.*near hits\d+.*of 1 processes/,
    );
    const metrics = await (await fetch(`${worker.metricsUrl}/metrics`)).text();
    expect(metrics).toMatch(/^lockstep_fleet_near_entries\{collection="products"\} [1-9]/m);
    expect(metrics).toMatch(/^lockstep_fleet_processes 1$/m);
    expect(await page.content()).not.toContain(SECRET);
  });

  test('compares a row with its entry; values only when they are asked for', async () => {
    await open('inspect');
    await page.locator('#inspect-id').fill('lamp');
    await page.keyboard.press('Enter');
    await expect.poll(() => text('cache-key')).toContain('wtc:products:lamp');
    expect(['in step', 'not flushed yet']).toContain(await text('agree'));
    expect(await text('row-value')).toContain('hidden');
    expect(await text('inspect-facts')).toMatch(
      /the entry is.*expires in.*the queue holds.*1 dead letters of it/,
    );
    expect(await page.content()).not.toContain(SECRET);
    await page.locator('#inspect-values').check();
    await page.getByRole('button', { name: 'Look', exact: true }).click();
    await expect.poll(() => text('entry-value')).toContain(SECRET);
    expect(await text('row-value')).toContain(SECRET);
  });

  test('consistency: the nines by scale, and the entries that stayed wrong', async () => {
    await open('consistency');
    await expect.poll(() => text('scales')).toMatch(/Within 1 s.*Within 1 min.*Within 5 min/);
    await expect.poll(() => text('offenders-said')).toContain('None');
  });

  test('dead letters: filtered, shown without their value until it is asked for, replayed and discarded one by one', async () => {
    await open('letters');
    const rows = page.locator('#letters-rows tr');
    await expect.poll(() => rows.count()).toBe(2);
    expect(await page.locator('#letters').textContent()).not.toContain(SECRET);
    const raw = page.getByRole('link', { name: 'The raw queues' });
    await expect.poll(() => raw.getAttribute('href')).toBe('https://queues.example/');
    await page.locator('#letters-text').fill('chair');
    await page.keyboard.press('Enter');
    await expect.poll(() => rows.count()).toBe(1);
    await page.getByRole('button', { name: 'Show the value of flush products chair' }).click();
    await expect.poll(() => rows.textContent()).toContain(SECRET);
    await page.getByRole('button', { name: 'Discard flush products chair' }).click();
    await expect.poll(() => text('letters-said')).toContain('Discarded 1');
    expect((await queue.deadLetters.list()).map(({ job }) => 'key' in job && job.key)).toEqual(['lamp']);
    await page.locator('#letters-text').fill('');
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name: 'Replay flush products lamp' }).click();
    await expect.poll(() => text('letters-said')).toContain('Replayed 1');
  });

  test.each(['light', 'dark'] as const)('is accessible in its %s theme (WCAG AA)', async (colorScheme) => {
    await page.emulateMedia({ colorScheme });
    await expect.poll(() => page.evaluate('document.documentElement.dataset.theme')).toBe(colorScheme);
    for (const name of PAGES) {
      await open(name);
      expect(await violations(), name).toEqual([]);
    }
  });

  test('fits a telephone on every page', async () => {
    await page.setViewportSize({ width: 360, height: 740 });
    for (const name of PAGES) {
      await open(name);
      const overflow = 'document.documentElement.scrollWidth - document.documentElement.clientWidth';
      expect(await page.evaluate(overflow), name).toBe(0);
    }
  });

  test('asks nobody but its own server, has no errors, and lets nobody in who has logged out', async () => {
    expect(foreign).toEqual([]);
    expect(troubles).toEqual([]);
    await open('overview');
    await page.context().setOffline(true);
    await open('letters');
    await expect.poll(() => text('letters-said')).toBe('The worker does not answer: is it running?');
    await page.context().setOffline(false);
    await page.getByRole('button', { name: 'Log out' }).click();
    await expect.poll(() => page.locator('#login').isVisible()).toBe(true);
    expect(await page.evaluate("fetch('/api/overview').then(({ status }) => status)")).toBe(401);
  });
});
