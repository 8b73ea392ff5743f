/**
 * `pnpm test [package …]`: builds, runs the suites of all packages (or of those named, by folder or name),
 * and counts from the reports that the runner wrote. Nothing comes from a cache. A suite without a report,
 * without a test, or with a skipped test has failed.
 */
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { ROOT, readJson, type WorkspacePackage, workspacePackages } from './lib/repository.ts';
import { build, turbo } from './lib/turbo.ts';

interface Report {
  readonly success: boolean;
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly testResults: readonly FileResult[];
}

interface FileResult {
  /** The file's path. */
  readonly name: string;
  readonly status: string;
  /** Why the file could not be run. */
  readonly message: string;
  readonly assertionResults: readonly {
    readonly fullName: string;
    readonly status: string;
    readonly failureMessages: readonly string[];
  }[];
}

/** Ignored by git; each package has its own. */
const REPORT = '.turbo/test-report.json';
/** Each test that failed and why, for whoever prints the last lines of a long output. */
const FAILURES = join(ROOT, '.turbo/failed-tests.txt');
const LINES_OF_A_FAILURE = 20;
const PROGRESS_MS = 500;

const wanted = process.argv.slice(2);
const suites = workspacePackages().filter(
  ({ folder, manifest }) =>
    manifest.scripts?.['test'] !== undefined &&
    (wanted.length === 0 ||
      wanted.some((name) => [manifest.name, folder, folder.replace(/^\w+\//, '')].includes(name))),
);
if (suites.length === 0) {
  console.error(`no package is called ${wanted.join(' or ')}`);
  process.exit(1);
}

const reportOf = (suite: WorkspacePackage): string => join(suite.path, REPORT);
rmSync(FAILURES, { force: true });
for (const suite of suites) rmSync(reportOf(suite), { force: true });

const built = await build();
if (built !== 0) {
  console.error('the build failed; no test ran');
  process.exit(built);
}

const started = Date.now();
const pending = new Set(suites);
const seconds = (): string => `${((Date.now() - started) / 1000).toFixed(0)} s`;
const progress = setInterval(() => {
  for (const suite of pending) {
    if (!existsSync(reportOf(suite))) continue;
    pending.delete(suite);
    console.log(`  ${suite.manifest.name} done after ${seconds()}`);
  }
}, PROGRESS_MS);

// Suites with servers must not starve each other: two at a time on a small machine.
const concurrency = Math.max(2, Math.floor(availableParallelism() / 2));
const code = await turbo([
  'run',
  'test',
  '--only',
  '--force',
  '--continue=always',
  `--concurrency=${concurrency}`,
  '--output-logs=errors-only',
  '--log-order=grouped',
  ...suites.map(({ manifest }) => `--filter=${manifest.name}`),
  '--',
  '--reporter=default',
  '--reporter=json',
  `--outputFile.json=${REPORT}`,
]);
clearInterval(progress);

function failuresOf({ name, status, message, assertionResults }: FileResult): string[] {
  if (status !== 'failed') return [];
  const file = name.replace(`${ROOT}/`, '');
  const tests = assertionResults.filter((test) => test.status === 'failed');
  const told = tests.map(({ fullName, failureMessages }) => [fullName, failureMessages.join('\n')] as const);
  return (told.length > 0 ? told : [['(the file)', message] as const]).map(([test, why]) => {
    const lines = stripVTControlCharacters(why)
      .split('\n')
      .filter((line) => !/^\s+at .*(node_modules|node:internal)/.test(line))
      .slice(0, LINES_OF_A_FAILURE);
    return `FAILED ${file}: ${test}\n${lines.map((line) => `    ${line}`).join('\n')}\n`;
  });
}

let passed = 0;
let failed = 0;
const failures: string[] = [];
console.log('');
for (const suite of suites) {
  const complaints: string[] = [];
  let summary = 'no report';
  if (existsSync(reportOf(suite))) {
    const report = readJson<Report>(reportOf(suite));
    const skipped = report.numPendingTests + report.numTodoTests;
    passed += report.numPassedTests;
    failed += report.numFailedTests;
    failures.push(...report.testResults.flatMap(failuresOf));
    summary = `${report.numPassedTests} passed, ${report.numFailedTests} failed`;
    if (skipped > 0) complaints.push(`${skipped} skipped`);
    if (report.numPassedTests + report.numFailedTests === 0) complaints.push('no test ran');
    else if (!report.success && report.numFailedTests === 0) complaints.push('an error outside the tests');
  } else {
    complaints.push('the suite did not finish');
  }
  failed += complaints.length;
  failures.push(...complaints.map((complaint) => `FAILED ${suite.manifest.name}: ${complaint}\n`));
  console.log(`${suite.manifest.name}: ${[summary, ...complaints].join('; ')}`);
}
// The runner may fail after it has written its report: an error in a teardown, a process that would not end.
if (code !== 0 && failed === 0) {
  failed += 1;
  failures.push(`FAILED turbo ended with ${code} although every report is good\n`);
}
if (failures.length > 0) {
  mkdirSync(dirname(FAILURES), { recursive: true });
  writeFileSync(FAILURES, failures.join('\n'));
  console.log(`\n${failures.join('\n')}`);
}
console.log(`\n${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
