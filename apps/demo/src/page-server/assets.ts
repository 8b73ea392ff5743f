import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { StoreKind } from '../stores/store.js';

/** A file of the page, ready to send. */
export interface Asset {
  readonly type: string;
  readonly body: Buffer;
}

export interface Assets {
  readonly files: ReadonlyMap<string, Asset>;
  /** For the `Content-Security-Policy`: the inline import map, by its hash. */
  readonly scriptHashes: readonly string[];
}

const PUBLIC = fileURLToPath(new URL('../../public/', import.meta.url));
/** The parts that the worker's dashboard has, too. */
const WORKER = dirname(fileURLToPath(import.meta.resolve('@lockstep/worker/package.json')));
const SCRIPTS = fileURLToPath(new URL('../page/', import.meta.url));

/** Reads the page's files once, in the words for a store; nothing of it comes from anywhere else. */
export async function readAssets(store: StoreKind): Promise<Assets> {
  const files = new Map<string, Asset>();
  const put = async (path: string, type: string, file: string) => {
    files.set(path, { type: `${type}; charset=utf-8`, body: await readFile(file) });
  };
  const html = (await readFile(join(PUBLIC, 'index.html'), 'utf8')).replace(
    'data-store="postgres"',
    `data-store="${store}"`,
  );
  files.set('/', { type: 'text/html; charset=utf-8', body: Buffer.from(html) });
  await put('/style.css', 'text/css', join(PUBLIC, 'style.css'));
  await put('/kit.css', 'text/css', join(WORKER, 'src/page/static/kit.css'));
  await put('/icon.svg', 'image/svg+xml', join(WORKER, 'src/page/static/icon.svg'));
  const kit = join(WORKER, 'dist/page/kit');
  for (const [path, folder] of [['/page', SCRIPTS] as const, ['/kit', kit] as const]) {
    for (const name of await readdir(folder)) {
      if (name.endsWith('.js')) await put(`${path}/${name}`, 'text/javascript', join(folder, name));
    }
  }
  const charts = dirname(fileURLToPath(import.meta.resolve('uplot')));
  await put('/vendor/uplot.js', 'text/javascript', join(charts, 'uPlot.iife.min.js'));
  await put('/vendor/uplot.css', 'text/css', join(charts, 'uPlot.min.css'));
  const scriptHashes = [...html.matchAll(/<script type="importmap">([\s\S]*?)<\/script>/g)].map(
    (match) =>
      `'sha256-${createHash('sha256')
        .update(match[1] ?? '')
        .digest('base64')}'`,
  );
  return { files, scriptHashes };
}
