const problems: string[] = [];

/** Notes something that makes the check fail at its end, so that one run shows all there is. */
export function problem(text: string): void {
  problems.push(text);
}

/** Prints what was noted, or the good news, and sets the exit code. */
export function conclude(good: string): void {
  for (const text of problems) console.error(`✗ ${text}`);
  if (problems.length === 0) console.log(good);
  else process.exitCode = 1;
}
