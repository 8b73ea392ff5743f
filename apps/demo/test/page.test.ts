import { startChromium } from '@lockstep/dev-services/chromium';
import axe from 'axe-core';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { WindowView } from '../src/messages.js';
import { DemoProcess, status, until } from './support/demo.js';

const SETUP_MS = 400_000;

/** Adds up how far things jump by themselves. */
const COUNT_SHIFTS = `
  globalThis.shifted = 0;
  new PerformanceObserver((list) => {
    for (const shift of list.getEntries()) if (!shift.hadRecentInput) globalThis.shifted += shift.value;
  }).observe({ type: 'layout-shift', buffered: true });
`;

let browser: Browser;
let demo: DemoProcess;
let url = '';
let page: Page;
const troubles: string[] = [];
const foreign: string[] = [];

beforeAll(async () => {
  demo = new DemoProcess(['--port', '0', '--reads', '600', '--writes', '30', '--products', '500']);
  [browser, url] = await Promise.all([startChromium(), demo.url()]);
  page = await browser.newPage({ viewport: { width: 1280, height: 900 }, colorScheme: 'light' });
  page.on('pageerror', (error) => troubles.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') troubles.push(message.text());
  });
  page.on('request', (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith('data:')) foreign.push(request.url());
  });
  await page.addInitScript({ content: COUNT_SHIFTS });
  await page.goto(url);
}, SETUP_MS);

afterAll(async () => {
  await browser?.close();
  await demo?.[Symbol.asyncDispose]();
}, 60_000);

/** The number that an element shows. */
async function figure(id: string): Promise<number> {
  return Number((await page.locator(`#${id}`).textContent())?.replaceAll(',', ''));
}

async function state(id: string): Promise<string | null> {
  return page.locator(`#${id}`).getAttribute('data-state');
}

describe('the page', () => {
  test('shows what is happening', async () => {
    await until(async () => (await figure('reads')) > 300, 60_000, 'reads per second');
    await until(async () => (await figure('checked')) > 500, 60_000, 'checked reads');
    expect(await figure('stale')).toBe(0);
    expect(await state('verdict')).toBe('good');
    await until(async () => (await figure('hits')) > 90, 60_000, 'hits');
    expect(await figure('without')).toBeGreaterThan(await figure('with'));
    await expect.poll(() => page.locator('#processes tr').count()).toBe(3);
    expect(await page.locator('#chart-reads canvas').count()).toBe(1);
  });

  test('a list and a product page are read through views, and follow what is written', async () => {
    await expect.poll(() => page.locator('#window-list li').count()).toBe(12);
    await page.locator('#window-product').fill('600');
    await page.locator('#window-category').selectOption('Garden');
    const look = await fetch(new URL('/window?category=Garden&product=600', url));
    const { view } = (await look.json()) as { view: WindowView };
    const [first] = view.products;
    // Nobody else writes it. Below all others: it enters the list, and comes first.
    const { applications } = await status(url);
    await fetch(`${applications[0]?.url}/products/600`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ ...first?.product, id: 600, name: 'A trowel for nothing', price: 0 }),
    });
    const shown = () => page.locator('#window-list li').first().textContent();
    await expect.poll(shown).toContain('A trowel for nothing');
    await until(async () => (await figure('views-checked')) > 10, 60_000, 'judged lists');
    expect(await figure('views-stale')).toBe(0);
    const refused = await fetch(new URL('/window?category=Cars&product=600', url));
    expect(refused.status).toBe(400);
  });

  test('a plain SQL update shows in row and entry, in step', async () => {
    await page.locator('#foreign-id').fill('7');
    await page.getByRole('button', { name: 'Update a row with plain SQL' }).click();
    await expect.poll(() => page.locator('#said').textContent()).toContain('product 7');
    expect(await page.locator('#inspect-id').inputValue()).toBe('7');
    const version = Number(/version (\d+)/.exec((await page.locator('#said').textContent()) ?? '')?.[1]);
    const inStep = async (): Promise<boolean> => {
      // In one look: the page goes on meanwhile.
      const [agree, row, entry] = await page.evaluate<(string | null)[]>(
        "[document.querySelector('#agree').dataset.state," +
          "...['row', 'entry'].map((name) => document.getElementById(name + '-version').textContent)]",
      );
      return agree === 'good' && Number(row) >= version && entry === row;
    };
    await until(inStep, 60_000, 'row and entry in step, as of the update');
  });

  test('a frozen Redis shows, is marked, and passes without a stale or failed read', async () => {
    // By keyboard, as somebody without a mouse would.
    await page.getByRole('button', { name: 'Freeze Redis' }).focus();
    await page.keyboard.press('Enter');
    await until(
      async () => (await page.locator('#state').textContent()) === 'cache is down',
      60_000,
      'an outage',
    );
    await until(async () => (await page.locator('.mark.redis').count()) > 0, 60_000, 'a mark');
    await until(
      async () => (await page.locator('#state').textContent()) === 'all running',
      60_000,
      'recovery',
    );
    await until(async () => (await figure('reads')) > 300, 60_000, 'reads per second');
    expect(await figure('stale')).toBe(0);
    expect(await figure('failed')).toBe(0);
  });

  test('a killed application comes back on its own port', async () => {
    const before = await status(url);
    await page.getByRole('button', { name: 'Kill an application' }).click();
    const after = await until(
      async () => {
        const now = await status(url);
        const back = now.applications.every((one) => one.state === 'running');
        return back && now.applications.some((one) => one.restarts === 1) && now;
      },
      60_000,
      'a restart',
    );
    expect(after.applications.map(({ port }) => port)).toEqual(before.applications.map(({ port }) => port));
    expect(after.faults['app-kill']).toBe(1);
    await until(async () => (await page.locator('.mark.app').count()) > 0, 60_000, 'a mark');
  });

  test('a killed Redis and a burst are survived', async () => {
    await page.getByRole('button', { name: 'Start a burst' }).click();
    await until(async () => (await figure('writes')) > 200, 60_000, 'the burst');
    await page.getByRole('button', { name: 'Kill Redis' }).click();
    const mended = async () => {
      const { faultLog, cacheDown } = await status(url);
      return !cacheDown && faultLog.some(({ name, toMs }) => name === 'redis-kill' && toMs !== null);
    };
    await until(mended, 60_000, 'recovery');
    await until(async () => (await figure('hits')) > 50, 60_000, 'hits');
    expect(await figure('stale')).toBe(0);
    expect(await figure('views-stale')).toBe(0);
  });

  test('a second fault of Redis at once is refused, and the page says why', async () => {
    await fetch(new URL('/faults/redis-freeze', url), { method: 'POST' });
    await page.getByRole('button', { name: 'Kill Redis' }).click();
    await expect.poll(() => page.locator('#said').textContent()).toContain('broken already');
    const mended = async () => {
      const { cacheDown, faultLog } = await status(url);
      return !cacheDown && faultLog.every(({ toMs }) => toMs !== null);
    };
    await until(mended, 60_000, 'recovery');
    // The browser reports the refusal as an error of its own; it is what was asked for.
    const refused = troubles.findIndex((trouble) => trouble.includes('409'));
    if (refused >= 0) troubles.splice(refused, 1);
  });

  test.each(['light', 'dark'] as const)('is accessible in its %s theme', async (colorScheme) => {
    await page.emulateMedia({ colorScheme });
    await expect.poll(() => page.evaluate('document.documentElement.dataset.theme')).toBe(colorScheme);
    await page.evaluate(axe.source);
    const { violations } = await page.evaluate<axe.AxeResults>('axe.run()');
    expect(violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`)).toEqual([]);
  });

  test('does not jump while figures change, and fits a telephone', async () => {
    expect(await page.evaluate('globalThis.shifted')).toBeLessThan(0.05);
    await page.setViewportSize({ width: 360, height: 740 });
    const overflow = await page.evaluate(
      'document.documentElement.scrollWidth - document.documentElement.clientWidth',
    );
    expect(overflow).toBe(0);
  });

  test('asks nobody but its own server, and has no errors', () => {
    expect(foreign).toEqual([]);
    expect(troubles).toEqual([]);
  });

  test('a page of another origin can not press the buttons', async () => {
    const press = (headers: Record<string, string>) =>
      fetch(new URL('/faults/app-kill', url), { method: 'POST', headers });
    expect((await press({ origin: 'http://example.org' })).status).toBe(403);
    const unknown = await fetch(new URL('/faults/earthquake', url), { method: 'POST' });
    expect(unknown.status).toBe(404);
  });
});
