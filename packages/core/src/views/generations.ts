import { createHash } from 'node:crypto';
import type { Proof, Trust } from '../cache/trust.js';

/** Digests of the generations that were seen; a few, unless a cache is replaced all the time. */
const MAX_DIGESTS = 100;

/** Digests of the cache's generation, which tokens are noted with: a failover may bring back tokens that were replaced. */
export class Generations {
  readonly #trust: Trust;
  readonly #digests = new Map<string, string>();
  /** The last one that was asked for: mostly there is no other. */
  #text: string | undefined;
  #digest: string | undefined;

  constructor(trust: Trust) {
    this.#trust = trust;
  }

  /** The generation of the keys' primaries; `undefined`: one of them has no recent proof. `nowMs`: the clock's `monotonic`. */
  of(keys: readonly string[], nowMs?: number): string | undefined {
    let last: Proof | undefined;
    let text = '';
    for (const key of keys) {
      const proof = this.#trust.proofOf(key, nowMs);
      if (proof === undefined) return undefined;
      if (proof === last) continue;
      text = last === undefined ? proof.generation : `${text},${proof.generation}`;
      last = proof;
    }
    return text === this.#text ? this.#digest : this.#digestOf(text);
  }

  /** As `of`, once the probes that are due have their answers. */
  async prove(keys: readonly string[]): Promise<string | undefined> {
    for (const key of keys) if ((await this.#trust.prove(key)) === undefined) return undefined;
    return this.of(keys);
  }

  #digestOf(text: string): string {
    let digest = this.#digests.get(text);
    if (digest === undefined) {
      if (this.#digests.size >= MAX_DIGESTS) this.#digests.clear();
      digest = createHash('sha256').update(text).digest('base64url').slice(0, 16);
      this.#digests.set(text, digest);
    }
    this.#text = text;
    this.#digest = digest;
    return digest;
  }
}
