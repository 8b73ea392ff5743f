/** One module out of a page's examples, at the same line numbers as in the page. */
export interface PageModule {
  readonly page: string;
  /** The line of its first block's fence, from 1. */
  readonly line: number;
  readonly code: string;
  /** Undefined: it is compiled only. Otherwise it is run, with these servers. */
  readonly services: readonly string[] | undefined;
}

interface Block {
  /** The index of the line with the opening fence. */
  readonly fence: number;
  readonly info: string;
  readonly lines: readonly string[];
}

function blocksOf(lines: readonly string[]): Block[] {
  const blocks: Block[] = [];
  for (let i = 0; i < lines.length; i += 1) {
    const [, marks, info] = /^(`{3,})\s*(.*)$/.exec(lines[i] ?? '') ?? [];
    if (marks === undefined || info === undefined) continue;
    const end = lines.indexOf(marks, i + 1);
    if (end === -1) throw new Error(`the block in line ${i + 1} has no end`);
    blocks.push({ fence: i, info: info.trim(), lines: lines.slice(i + 1, end) });
    i = end;
  }
  return blocks;
}

/**
 * The modules of a Markdown page. A block marked `ts` that imports something starts one, a block marked `ts`
 * that imports nothing continues it. `ts run` says that the module runs in CI, `ts run postgres redis` with
 * which servers; blocks marked in any other way (`ts fragment`) are left alone.
 */
export function modulesOf(page: string, text: string): PageModule[] {
  const lines = text.split(/\r?\n/);
  const modules: { first: Block; blocks: Block[] }[] = [];
  for (const block of blocksOf(lines)) {
    if (block.info !== 'ts' && !block.info.startsWith('ts run')) continue;
    const starts = block.lines.some((line) => line.startsWith('import '));
    const current = modules.at(-1);
    if (starts || current === undefined) modules.push({ first: block, blocks: [block] });
    else current.blocks.push(block);
  }
  return modules.map(({ first, blocks }) => {
    const code = lines.map(() => '');
    for (const { fence, lines: inside } of blocks) code.splice(fence + 1, inside.length, ...inside);
    const [, run, ...services] = first.info.split(/\s+/);
    return {
      page,
      line: first.fence + 1,
      code: code.join('\n'),
      services: run === 'run' ? services : undefined,
    };
  });
}
