/**
 * `pnpm run screenshots`: runs the shop and takes pictures of the dashboard of one of its workers for the documentation,
 * after a minute and a half with a burst and a Redis that hangs.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { startChromium } from '@lockstep/dev-services/chromium';
import type { Status } from './page-server/status.js';

const FOLDER = fileURLToPath(new URL('../../../docs/images/', import.meta.url));
const CLI = fileURLToPath(new URL('./cli.js', import.meta.url));
const SIZE = { width: 1280, height: 900 };
const MAX_BYTES = 200_000;

const SHOTS = [
  { file: 'dashboard.png', page: 'overview', colorScheme: 'light' },
  { file: 'dashboard-processes.png', page: 'processes', colorScheme: 'light' },
  { file: 'dashboard-collections.png', page: 'collections', colorScheme: 'dark' },
  { file: 'dashboard-consistency.png', page: 'consistency', colorScheme: 'dark' },
] as const;

/** Heights that leave no empty space below. */
const HEIGHTS: Partial<Record<string, number>> = { processes: 420, collections: 860, consistency: 540 };

async function statusOf(url: string): Promise<Status> {
  return (await (await fetch(new URL('/status', url))).json()) as Status;
}

/** The address that the shop prints once it is open. What it says later is read, too, and left. */
function printedUrl(): Promise<string> {
  let printed = '';
  return new Promise((resolve, reject) => {
    shop.stdout.setEncoding('utf8').on('data', (text: string) => {
      printed += text;
      const [url] = /http\S+/.exec(printed) ?? [];
      if (url !== undefined) resolve(url);
    });
    shop.once('close', () => reject(new Error('the shop has ended')));
  });
}

const shop = spawn(process.execPath, [CLI, '--port', '0', '--reads', '900', '--writes', '90'], {
  stdio: ['ignore', 'pipe', 'inherit'],
});
const browser = await startChromium();
try {
  const url = await printedUrl();
  const press = (name: string) =>
    fetch(new URL(`/faults/${name}`, url), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    });
  await sleep(50_000);
  await press('burst');
  await sleep(20_000);
  await press('redis-freeze');
  await sleep(30_000);
  const dashboard = (await statusOf(url)).workers[0]?.url ?? '';
  await mkdir(FOLDER, { recursive: true });
  for (const { colorScheme, file, page: name } of SHOTS) {
    const viewport = { ...SIZE, height: HEIGHTS[name] ?? SIZE.height };
    const page = await browser.newPage({ viewport, colorScheme });
    await page.goto(`${dashboard}/#${name}`);
    await page.locator('#state[data-state="good"]').waitFor();
    if (name === 'collections') await page.getByText('Settings', { exact: true }).first().click();
    const path = FOLDER + file;
    await page.screenshot({ path, fullPage: name === 'overview' });
    await page.close();
    const { size } = await stat(path);
    process.stdout.write(`${path} ${Math.round(size / 1_000)} kB\n`);
    if (size > MAX_BYTES) throw new Error(`${file} is larger than ${MAX_BYTES} bytes`);
  }
} finally {
  await browser.close();
  shop.kill('SIGTERM');
  if (shop.exitCode === null) await once(shop, 'close');
}
