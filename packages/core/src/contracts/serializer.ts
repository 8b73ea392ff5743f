/** Turns values into payloads and back. `serialize(deserialize(p))` must equal `p` in meaning. */
export interface Serializer {
  /** For messages, e.g. `json`. */
  readonly name: string;
  readonly encoding: 'utf8' | 'binary';
  /** Throws when the value can't be carried. */
  serialize(value: unknown): string | Uint8Array;
  /**
   * About how many bytes `serialize` would return, without doing it. Throws what it would throw. Writes ask
   * for it before they start; without it they serialize to find out.
   */
  measure?(value: unknown): number;
  /** Throws when the payload is not its own; the engine counts that as a miss. */
  deserialize(payload: string | Uint8Array): unknown;
}
