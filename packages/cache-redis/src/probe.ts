import type { CacheProbe } from '@lockstep/core';
import { ScriptCall } from './calls.js';
import type { Dispatch } from './dispatch.js';
import { refusalOf } from './refusal.js';
import { generationText } from './server-info.js';
import type { Topology } from './topology/topology.js';

/** How long a probe's key stays after the last one. */
export const PROBE_TTL_MS = '60000';

/** One call of the script to every primary, in one message each. */
export async function probePrimaries(
  topology: Topology,
  dispatch: Dispatch,
  prefix: string,
): Promise<ReadonlyMap<string, CacheProbe | Error>> {
  const keys = topology.probeKeys(`${prefix}probe`);
  const calls = [...keys.values()].map((key) => new ScriptCall('probe', key, [PROBE_TTL_MS], 'utf8'));
  const replies = await dispatch.run(calls);
  return new Map([...keys.keys()].map((primary, index) => [primary, probeOf(replies[index])]));
}

/** For how long each primary has kept what it was told, in ms. */
export async function keptByPrimaries(
  topology: Topology,
  dispatch: Dispatch,
  prefix: string,
): Promise<ReadonlyMap<string, number | Error>> {
  const keys = topology.probeKeys(`${prefix}kept`);
  const calls = [...keys.values()].map((key) => new ScriptCall('kept', key, [''], 'utf8'));
  const replies = await dispatch.run(calls);
  return new Map([...keys.keys()].map((primary, index) => [primary, keptOf(replies[index])]));
}

function keptOf(reply: unknown): number | Error {
  if (reply instanceof Error) return reply;
  const text = String(reply);
  return /^\d+$/.test(text) ? Number(text) : new Error(`kept: unexpected reply ${text.slice(0, 64)}`);
}

function probeOf(reply: unknown): CacheProbe | Error {
  if (reply instanceof Error) return refusalOf(reply);
  const [nowMs, run, replication] = String(reply).split(' ');
  if (!/^\d+$/.test(nowMs ?? '')) return new Error(`probe: unexpected reply ${String(reply).slice(0, 64)}`);
  return { nowMs: Number(nowMs), generation: generationText(told(run), told(replication)) };
}

function told(id: string | undefined): string | undefined {
  return id === '-' ? undefined : id;
}
