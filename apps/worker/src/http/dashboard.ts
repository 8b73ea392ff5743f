const html = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Lockstep worker</title>
<link rel="stylesheet" href="/dashboard.css">
</head>
<body>
<h1>Lockstep worker</h1>
<div id="problems" role="status"></div>
<dl id="figures"></dl>
<h2>Dead letters</h2>
<p>An invalidation that the cache refused on every attempt: its entry may be older than the store until it expires;
the change feed usually has dealt with it since. Or a flush: a buffered write that the store refused, which is in
nothing but this letter. Replaying is always safe; discarding a flush loses the write.</p>
<div><button id="replay">Replay all</button> <button id="discard">Discard all</button></div>
<table><thead><tr><th scope="col">Job</th><th scope="col">Version</th><th scope="col">Attempts</th><th scope="col">Failed</th><th scope="col">Error</th></tr></thead>
<tbody id="letters"></tbody></table>
<script type="module" src="/dashboard.js"></script>
</body>
</html>
`;

const style = `:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); --soft: color-mix(in srgb, currentColor 62%, transparent); }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 68rem; padding: 0 1rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.05rem; margin-top: 2rem; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: 1rem; margin: 0; }
dt { color: var(--soft); font-size: .85rem; } dd { margin: 0; font-size: 1.4rem; font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .4rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
td { overflow-wrap: anywhere; } button { font: inherit; padding: .3rem .8rem; } p { color: var(--soft); max-width: 44rem; }
#problems { color: #c0392b; font-weight: 600; }
`;

const script = `const byId = (id) => document.getElementById(id);
const element = (name, text) => Object.assign(document.createElement(name), { textContent: text });
const figure = (name, value) => [element('dt', name), element('dd', value)].reduce((div, part) => (div.append(part), div), document.createElement('div'));
async function show() {
  const status = await (await fetch('/api/status')).json();
  const pending = status.feeds.reduce((sum, feed) => sum + (feed.pending ?? 0), 0);
  const { dead = 0, waiting = 0, active = 0, delayed = 0 } = status.queue ?? {};
  byId('problems').textContent = status.problems.join(' · ');
  byId('figures').replaceChildren(
    figure('Cache', status.cache.enabled ? 'on' : 'off'),
    figure('Changes relayed', status.relay.handled.toLocaleString()),
    figure('Entries made holes', status.relay.floored.toLocaleString()),
    figure('Lag p99', Math.round(status.relay.lagMs.p99) + ' ms'),
    figure('Feed pending', pending.toLocaleString()),
    figure('Queue', (waiting + active + delayed).toLocaleString()),
    figure('Unflushed', Object.values(status.unflushed).reduce((sum, keys) => sum + keys, 0).toLocaleString()),
    figure('Dead letters', dead.toLocaleString()),
  );
  const answer = await fetch('/api/dead-letters');
  const { letters = [] } = await answer.json();
  byId('letters').replaceChildren(...letters.map((letter) => {
    const row = document.createElement('tr');
    const name = letter.job.kind + ' ' + (letter.job.collection ? letter.job.collection + ' ' : '') + (letter.job.key ?? letter.job.raw);
    row.append(element('td', name), element('td', String(letter.job.version ?? letter.job.refused?.version ?? '')), element('td', String(letter.attempts)),
      element('td', new Date(letter.failedAtMs).toLocaleString()), element('td', letter.error));
    return row;
  }));
  for (const id of ['replay', 'discard']) byId(id).disabled = letters.length === 0;
}
for (const id of ['replay', 'discard']) {
  byId(id).addEventListener('click', async () => {
    if (id === 'discard' && !confirm('Forget all dead letters?')) return;
    await fetch('/api/dead-letters/' + id, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' });
    await show();
  });
}
const again = () => show().catch((error) => { byId('problems').textContent = String(error); }).finally(() => setTimeout(again, 2000));
again();
`;

/** The page and what it asks for, by path; no other host is asked for anything. */
export const dashboardPage: Readonly<Record<string, { readonly type: string; readonly body: string }>> = {
  '/': { type: 'text/html; charset=utf-8', body: html },
  '/dashboard.css': { type: 'text/css; charset=utf-8', body: style },
  '/dashboard.js': { type: 'text/javascript; charset=utf-8', body: script },
};
