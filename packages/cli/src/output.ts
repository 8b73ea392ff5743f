/** Where a command says what it found. */
export interface Output {
  /** The result: as JSON with `--json`, otherwise as the lines. */
  result(value: unknown, lines: readonly string[]): void;
  /** What is under way, on standard error, in one line that changes; nothing where that is no terminal. */
  progress(line: string): void;
}

export function output(json: boolean): Output {
  let shown = false;
  const clear = (): void => {
    if (shown) process.stderr.write('\r\x1b[K');
    shown = false;
  };
  return {
    result(value, lines) {
      clear();
      console.log(json ? JSON.stringify(value, replacer, 2) : lines.join('\n'));
    },
    progress(line) {
      if (!process.stderr.isTTY) return;
      process.stderr.write(`\r\x1b[K${line}`);
      shown = true;
    },
  };
}

function replacer(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}

/** Columns side by side, each as wide as its longest cell. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]?.map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0))) ?? [];
  return rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
