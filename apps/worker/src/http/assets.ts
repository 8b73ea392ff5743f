import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** A file of the page, ready to send. */
export interface Asset {
  readonly type: string;
  readonly body: Buffer;
}

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const STATIC = join(ROOT, 'src/page/static');
const SCRIPTS = join(ROOT, 'dist/page');

/** The page and what it asks for, by path, read once; no other host is asked for anything. */
export async function readAssets(): Promise<ReadonlyMap<string, Asset>> {
  const charts = dirname(fileURLToPath(import.meta.resolve('uplot')));
  const files = [
    ['/', 'text/html', join(STATIC, 'index.html')],
    ['/icon.svg', 'image/svg+xml', join(STATIC, 'icon.svg')],
    ['/kit.css', 'text/css', join(STATIC, 'kit.css')],
    ['/dashboard.css', 'text/css', join(STATIC, 'dashboard.css')],
    ['/vendor/uplot.js', 'text/javascript', join(charts, 'uPlot.iife.min.js')],
    ['/vendor/uplot.css', 'text/css', join(charts, 'uPlot.min.css')],
    ...(await scripts('/page', SCRIPTS)),
    ...(await scripts('/page/kit', join(SCRIPTS, 'kit'))),
  ] as const;
  const read = files.map(async ([path, type, file]) => {
    return [path, { type: `${type}; charset=utf-8`, body: await readFile(file) }] as const;
  });
  return new Map(await Promise.all(read));
}

async function scripts(path: string, folder: string): Promise<(readonly [string, string, string])[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.js'));
  return names.map((name) => [`${path}/${name}`, 'text/javascript', join(folder, name)] as const);
}
