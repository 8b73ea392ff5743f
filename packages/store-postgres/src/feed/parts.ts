import type { Clock } from '@lockstep/core';
import type { Knex } from 'knex';
import type { Session } from '../wire/session.js';
import type { Listener } from './listener.js';
import type { ResolvedFeedOptions } from './options.js';

/** The parts that the feed's work needs. */
export interface FeedParts {
  readonly knex: Knex;
  readonly session: Session;
  readonly clock: Clock;
  readonly options: ResolvedFeedOptions;
  readonly listener: Listener | undefined;
}
