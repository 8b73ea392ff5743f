import { FactBuffer, factsOf, type Outage } from '@lockstep/torture';
import { describe, expect, test } from 'vitest';
import { type ExchangeMember, FactExchange } from '../src/supervisor/exchange.js';
import { FeedLag } from '../src/supervisor/feed-lag.js';
import { LatencyHistogram } from '../src/supervisor/totals.js';

function member() {
  const heard: { versions: number[]; horizonMs: number }[] = [];
  const outages: (readonly Outage[])[] = [];
  const one: { -readonly [Name in keyof ExchangeMember]: ExchangeMember[Name] } = {
    facts: (facts, horizonMs) =>
      heard.push({
        versions: facts === null ? [] : [...factsOf(facts)].map(({ version }) => version),
        horizonMs,
      }),
    outages: (list) => outages.push(list),
  };
  return { one, heard, outages };
}

function facts(version: number): Float64Array {
  const buffer = new FactBuffer();
  buffer.add('put', 1, version, 5);
  return buffer.take();
}

describe('the exchange of facts', () => {
  test('passes facts on to everybody else, and never moves the horizon past what somebody has not told', () => {
    const exchange = new FactExchange(() => Number.MAX_VALUE);
    const [a, b] = [member(), member()];
    exchange.join(a.one);
    exchange.join(b.one);
    const before = exchange.horizonMs;
    exchange.report(a.one, facts(7), before + 60_000);
    expect(b.heard.at(-1)?.versions).toEqual([7]);
    expect(a.heard.at(-1)?.versions).toEqual([]);
    expect(exchange.horizonMs - before).toBeLessThan(30_000);
    exchange.report(b.one, new Float64Array(), before + 40_000);
    expect(exchange.horizonMs).toBe(before + 40_000);
    expect(a.heard.at(-1)).toEqual({ versions: [], horizonMs: before + 40_000 });
  });

  test('waits for nobody who is gone', () => {
    const exchange = new FactExchange(() => Number.MAX_VALUE);
    const [a, b] = [member(), member()];
    exchange.join(a.one);
    exchange.join(b.one);
    exchange.leave(b.one);
    exchange.report(a.one, new Float64Array(), 1e12);
    expect(exchange.horizonMs).toBe(1e12);
    // What was on its way when it ended does not bring it back.
    exchange.report(b.one, new Float64Array(), 5);
    expect(exchange.horizonMs).toBe(1e12);
  });

  test('holds the horizon where outages are not known yet', () => {
    let known = 10;
    const exchange = new FactExchange(() => known);
    const a = member();
    exchange.join(a.one);
    exchange.report(a.one, new Float64Array(), 1e12);
    expect(exchange.horizonMs).toBe(10);
    known = 20;
    expect(exchange.horizonMs).toBe(20);
  });

  test('a process that comes late hears of the outages so far', () => {
    const exchange = new FactExchange(() => 0);
    const outage = { fromMs: 1, toMs: null, restarted: false };
    exchange.tellOutages([outage]);
    const a = member();
    exchange.join(a.one);
    expect(a.outages).toEqual([[outage]]);
  });
});

test('a process that comes late hears of deletes, and of those whose process was killed in the middle', () => {
  const exchange = new FactExchange(() => 0);
  const [a, b] = [member(), member()];
  const told: string[] = [];
  b.one.facts = (list) => {
    for (const { kind, index, version } of list === null ? [] : factsOf(list))
      told.push(`${kind} ${index} ${version}`);
  };
  exchange.join(a.one);
  const buffer = new FactBuffer();
  buffer.add('delete-begun', 1, 0, 5);
  buffer.add('delete', 1, 40, 6);
  buffer.add('delete-ended', 1, 0, 6);
  buffer.add('delete-begun', 2, 0, 7);
  exchange.report(a.one, buffer.take(), 8);
  exchange.leave(a.one);
  exchange.join(b.one);
  expect(told.sort()).toEqual(['delete-begun 2 0', 'late-delete 1 40']);
});

describe('the feed lag', () => {
  const batch = (atMs: number, lagMs: number) => ({ changes: 1, lagMs, atMs });

  test('keeps apart what an outage held up, and leaves out what the seeding made', () => {
    const lag = new FeedLag(1_000);
    lag.begin(10_000);
    lag.add([batch(10_500, 5_000), batch(11_000, 20), batch(25_500, 4_000), batch(40_000, 30)]);
    lag.settle(60_000, [{ fromMs: 22_000, toMs: 25_000, restarted: false }]);
    expect(lag.summary).toMatchObject({ count: 2, max: 30 });
    expect(lag.outageSummary.count).toBe(1);
    expect(lag.outageSummary.max).toBeGreaterThanOrEqual(3_999);
  });

  test('waits for outages that are not known yet', () => {
    const lag = new FeedLag(1_000);
    lag.begin(0);
    lag.add([batch(10_000, 3_000)]);
    lag.settle(10_200, []);
    expect(lag.summary.count).toBe(0);
    lag.settle(12_000, [{ fromMs: 7_500, toMs: 9_900, restarted: false }]);
    expect(lag.summary.count).toBe(0);
    expect(lag.outageSummary.count).toBe(1);
  });
});

test('percentiles are of everything that was added', () => {
  const histogram = new LatencyHistogram();
  for (let ms = 1; ms <= 100; ms += 1) histogram.add(ms);
  histogram.add(1e9);
  const { p50, p99, max, count } = histogram.summary;
  expect(count).toBe(101);
  expect(Math.abs(p50 - 51)).toBeLessThan(1);
  expect(Math.abs(p99 - 100)).toBeLessThan(1);
  expect(max).toBeGreaterThan(119_000);
});
