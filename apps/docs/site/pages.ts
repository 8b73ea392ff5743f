/**
 * The site's pages are the repository's: `docs/`, the packages' READMEs, CONTRIBUTING. Starlight wants them in a folder
 * of its own, with a title in front matter and addresses of the site in links; this module writes them there.
 */
import { copyFileSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, extname, join, posix } from 'node:path';

const ROOT = join(import.meta.dirname, '..', '..', '..');
const CONTENT = join(import.meta.dirname, '..', 'src', 'content', 'docs');
const PUBLIC = join(import.meta.dirname, '..', 'public');
/** Pages that only the site has: they use its components. */
const OWN = join(import.meta.dirname, '..', 'pages');

/** Where a page of the repository has room for what only the site can show. */
const ANIMATION = '<!-- On the site an animation stands here. -->';

interface Page {
  /** From the repository's root: `docs/views.md`. */
  readonly source: string;
  /** The page's place on the site, without slashes around it: `views`, `packages/core`. */
  readonly address: string;
}

function addressOf(source: string): string {
  const [, folder] = /^((?:packages|apps)\/[^/]+)\/README\.md$/.exec(source) ?? [];
  return (
    folder ??
    source
      .replace(/^docs\//, '')
      .replace(/\.md$/, '')
      .toLowerCase()
  );
}

function pagesOfRepository(): Page[] {
  return globSync(['docs/**/*.md', 'packages/*/README.md', 'apps/*/README.md', 'CONTRIBUTING.md'], {
    cwd: ROOT,
  })
    .filter((source) => !source.startsWith('apps/docs/'))
    .sort()
    .map((source) => ({ source, address: addressOf(source) }));
}

/** The text of a line of Markdown without its marks. */
function plain(markdown: string): string {
  return markdown
    .replaceAll(/!?\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replaceAll(/(\*\*|`)/g, '')
    .replaceAll(/\s+/g, ' ')
    .trim();
}

/** The first paragraph of prose, up to the end of a sentence. */
function descriptionOf(body: string): string {
  const paragraph = body.split(/\n{2,}/).find((part) => /^[A-Z*`]/.test(part.trim())) ?? '';
  const [sentence = ''] = /^.*?[.:](?=\s|$)/.exec(plain(paragraph)) ?? [];
  return sentence.replace(/:$/, '.');
}

class Site {
  readonly #addresses: ReadonlyMap<string, string>;

  constructor(readonly pages: readonly Page[]) {
    this.#addresses = new Map(pages.map(({ address, source }) => [source, address]));
  }

  /** A link from `source`, as the site has it. Files that are no pages are served as they are. */
  #link(source: string, target: string): string {
    const [path = '', anchor] = target.split('#');
    const file = posix.normalize(posix.join(posix.dirname(source), path));
    const fragment = anchor === undefined ? '' : `#${anchor}`;
    const address = this.#addresses.get(file) ?? this.#addresses.get(posix.join(file, 'README.md'));
    if (address !== undefined) return `/${address}/${fragment}`;
    if (extname(file) === '') throw new Error(`${source} links to ${target}, of which the site has no page`);
    const copy = join(PUBLIC, 'files', file);
    mkdirSync(dirname(copy), { recursive: true });
    copyFileSync(join(ROOT, file), copy);
    return `/files/${file}`;
  }

  /** A page for Starlight: front matter, links of the site, fences without this repository's own words. */
  render({ source, address }: Page): string {
    const text = readFileSync(join(ROOT, source), 'utf8');
    const [heading = '', title = ''] = /^# (.+)\n/m.exec(text) ?? [];
    if (title === '') throw new Error(`${source} has no heading`);
    const parts = text.replace(heading, '').split(/^(```[\s\S]*?^```$)/m);
    const body = parts
      .map((part) =>
        part.startsWith('```')
          ? part.replace(/^```ts (?:run|fragment)\b.*/, '```ts')
          : part.replaceAll(/(\]\()(?!\w+:|#)([^)\s]+)/g, (_, open: string, target: string) => {
              return `${open}${this.#link(source, target)}`;
            }),
      )
      .join('');
    const animated = body.replace(
      ANIMATION,
      '<write-path></write-path>\n<script type="module" src="/write-path.js"></script>',
    );
    const matter = { title: plain(title), description: descriptionOf(body), slug: address };
    const lines = Object.entries(matter).map(([key, value]) => `${key}: ${JSON.stringify(value)}`);
    return `---\n${lines.join('\n')}\n---\n${animated}`;
  }
}

/** Writes all pages anew, and returns their addresses. */
export function preparePages(): string[] {
  rmSync(CONTENT, { recursive: true, force: true });
  rmSync(join(PUBLIC, 'files'), { recursive: true, force: true });
  const site = new Site(pagesOfRepository());
  for (const page of site.pages) {
    const file = join(CONTENT, `${page.address}.md`);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, site.render(page));
  }
  for (const name of globSync('**/*.mdx', { cwd: OWN })) {
    mkdirSync(dirname(join(CONTENT, name)), { recursive: true });
    copyFileSync(join(OWN, name), join(CONTENT, name));
  }
  return site.pages.map(({ address }) => address);
}
