import { readFileSync } from 'node:fs';

const PAGE = new URL('../../../../docs/architecture.md', import.meta.url);

/** The functions in the first table of a section of `docs/architecture.md`, each as often as it says, sorted. */
export function documented(section: string): string[] {
  const [, text = ''] = readFileSync(PAGE, 'utf8').split(`\n### ${section}\n`);
  const [table = ''] = /^\|[\s\S]*?(?=\n\n)/m.exec(text) ?? [];
  const functions = table.split('\n').flatMap((row) => {
    const [, files = '', names = ''] = row.split('|');
    const [, file] = /`(.*)`/.exec(files) ?? [];
    return [...names.matchAll(/`(.*?)`(?: ×(\d+))?/g)].flatMap(([, name, times = '1']) =>
      new Array<string>(Number(times)).fill(`${file} ${name}`),
    );
  });
  return functions.sort();
}

/** Functions as that page writes them, sorted: without their class, and without those that have no name. */
export function asDocumented(functions: Iterable<string>): string[] {
  return [...functions]
    .map((name) => name.replace(/ .*\./, ' '))
    .filter((name) => !name.endsWith(' anonymous'))
    .sort();
}
