import { DevServicesError, messageOf } from './errors.js';
import type { ServiceOrigin, StartOptions } from './types.js';

const ALL: readonly ServiceOrigin[] = ['env', 'binary', 'package', 'docker', 'apt'];
const VARIABLE = 'LOCKSTEP_SERVICES_ORIGINS';

/** A way to a server; undefined where this machine does not offer it. */
export type Attempts<T> = Partial<Record<ServiceOrigin, () => Promise<T | undefined>>>;

/** Tries one origin after the other. Rejects with what each said when none has the server. */
export async function firstOrigin<T>(
  options: StartOptions,
  attempts: Attempts<T>,
  advice: string,
): Promise<T & { readonly origin: ServiceOrigin }> {
  const notes: string[] = [];
  const origins = originsOf(options);
  for (const origin of origins) {
    try {
      const found = await attempts[origin]?.();
      if (found !== undefined) return { ...found, origin };
    } catch (error) {
      // A server that is there and does not start is a fault to report, no reason to take another one.
      if (error instanceof DevServicesError && error.code !== 'DEV_SERVICES_NO_SERVER') throw error;
      notes.push(`${origin}: ${messageOf(error)}`);
    }
  }
  const tried = `tried ${origins.join(', ')}`;
  throw new DevServicesError(
    'DEV_SERVICES_NO_SERVER',
    [`${advice} (${tried})`, ...notes.map((note) => `  ${note}`)].join('\n'),
  );
}

function originsOf(options: StartOptions): readonly ServiceOrigin[] {
  if (options.origins !== undefined) return options.origins.map((origin) => checked(origin, 'origins'));
  const listed = process.env[VARIABLE];
  if (listed === undefined || listed === '') return ALL;
  return listed.split(',').map((origin) => checked(origin.trim(), VARIABLE));
}

function checked(origin: string, name: string): ServiceOrigin {
  const known = ALL.find((each) => each === origin);
  if (known !== undefined) return known;
  throw new DevServicesError(
    'DEV_SERVICES_INVALID_OPTION',
    `${name}: '${origin}' is none of ${ALL.join(', ')}`,
  );
}
