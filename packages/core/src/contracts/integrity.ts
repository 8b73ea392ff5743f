/** A secret that several processes share. */
export interface IntegrityKey {
  /** Travels with what it signed: 1 to 32 letters, digits, `_` and `-`. */
  readonly id: string;
  /** 32 to 1,024 bytes, best random ones; text counts as UTF-8. */
  readonly secret: string | Uint8Array;
}

/**
 * Signs entries of the cache and jobs of the queue, so that others who may write there can forge neither. Old ones can
 * be put back: a signature says who made something, not that it is the latest.
 */
export interface IntegrityOptions {
  /** The first signs; all of them are believed, so that keys can be changed one process after the other. */
  readonly keys: readonly IntegrityKey[];
  /** Believe what carries no signature, too: until all processes sign. @defaultValue false */
  readonly acceptUnsigned?: boolean;
}
