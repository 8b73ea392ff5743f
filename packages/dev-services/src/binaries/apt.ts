import { access } from 'node:fs/promises';
import { execa } from 'execa';
import { messageOf } from '../errors.js';

const APT = 'apt-get';
const INSTALL_TIMEOUT_MS = 300_000;

/** Installs a package of the distribution, saying so in one line; false where this is not Debian, or not root. */
export async function aptInstall(name: string): Promise<boolean> {
  const debian = await access('/etc/debian_version').then(
    () => true,
    () => false,
  );
  if (!debian || process.getuid?.() !== 0) return false;
  console.error(`dev-services: installing ${name} with apt-get, since no other way to it was found`);
  const options = {
    timeout: INSTALL_TIMEOUT_MS,
    all: true,
    // The run level keeps the package from starting a server of the machine's own.
    env: { DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' },
  } as const;
  // Another process may be installing: its lock is waited for.
  const lock = ['-o', 'DPkg::Lock::Timeout=120'];
  try {
    await execa(APT, [...lock, 'update', '-qq'], options);
    await execa(APT, [...lock, 'install', '-y', '-qq', '--no-install-recommends', name], options);
  } catch (error) {
    throw new Error(`apt-get install ${name}: ${messageOf(error).slice(-1_000)}`, { cause: error });
  }
  return true;
}
