/**
 * `node scripts/leftovers.mjs FOLDER STATUS`: fails, naming them, when processes, files or changes in git
 * outlived the steps that ran with `TMPDIR=FOLDER`; ends those processes. STATUS is what
 * `git status --porcelain` said before. Plain JavaScript: it also runs where the installation failed.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** Servers whose owner was killed are ended by their supervisor, which grants them some time. */
const GRACE_MS = 15_000;
const POLL_MS = 250;
/** Caches that tools keep for the next run, in a folder that goes with this one. */
const TOOLS = /^(node-compile-cache|node-jiti|jiti|v8-compile-cache.*)$/;

const [folder = '', statusBefore = ''] = process.argv.slice(2);
if (folder === '') throw new Error('leftovers: needs the folder');

/** @param {() => string} read */
function attempt(read) {
  try {
    return read();
  } catch {
    return '';
  }
}

/** @param {number} pid */
function parentOf(pid) {
  const stat = attempt(() => readFileSync(`/proc/${pid}/stat`, 'utf8'));
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] ?? 0);
}

/** This process and those that it was started by. */
const own = new Set();
for (let pid = process.pid; pid > 1; pid = parentOf(pid)) own.add(pid);

/** Processes that know the folder: from their environment, their arguments or their working directory. */
function processes() {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && !own.has(Number(name)))
    .map((pid) => {
      const command = attempt(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8')).replaceAll('\0', ' ');
      const facts = [
        command,
        attempt(() => readFileSync(`/proc/${pid}/environ`, 'utf8')),
        attempt(() => readlinkSync(`/proc/${pid}/cwd`)),
      ];
      return { pid: Number(pid), command, ours: facts.some((fact) => fact.includes(folder)) };
    })
    .filter(({ ours, command }) => ours && command !== '');
}

function files() {
  return readdirSync(folder).filter((name) => !TOOLS.test(name));
}

const deadline = Date.now() + GRACE_MS;
while ((processes().length > 0 || files().length > 0) && Date.now() < deadline) {
  await new Promise((resolve) => setTimeout(resolve, POLL_MS));
}

/** @type {string[]} */
const left = [];
for (const { pid, command } of processes()) {
  left.push(`process ${pid}: ${command.slice(0, 200)}`);
  attempt(() => String(process.kill(pid, 'SIGKILL')));
}
left.push(...files().map((name) => `temporary: ${name}`));
const status = execFileSync('git', ['status', '--porcelain'], { encoding: 'utf8' }).trimEnd();
if (status !== statusBefore.trimEnd()) left.push(`git status:\n${status}\nbefore:\n${statusBefore}`);

for (const line of left) console.error(`✗ left behind: ${line}`);
if (left.length === 0) console.log('nothing left behind: no process, no temporary file, no change in git');
process.exitCode = left.length === 0 ? 0 : 1;
