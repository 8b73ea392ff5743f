import type { Consistency } from '../audit/auditor.js';
import type { ScaleConsistency } from '../audit/consistency.js';
import type { Look, Offender } from '../audit/offenders.js';
import { get, wordsOf } from './api.js';
import { byId, element, setText, whole } from './kit/index.js';

/** The figures; the entries are asked for apart. */
export function showConsistency(consistency: Consistency | null): void {
  byId('stale-count').hidden = (consistency?.open ?? 0) === 0;
  setText('stale-count', whole(consistency?.open ?? 0));
  if (consistency === null) {
    setText('audited', 'This worker has no auditor: audit.perSecond is 0.');
    return;
  }
  byId('scales').replaceChildren(...consistency.scales.map(scaleOf));
  const { checked, suspects } = consistency;
  setText(
    'audited',
    `${whole(checked)} looked at since the start; ${whole(suspects)} differ now and are watched.`,
  );
}

function scaleOf({ late, nines, scaleMs, share }: ScaleConsistency): HTMLElement {
  const seconds = scaleMs / 1_000;
  const within = seconds < 60 ? `${seconds} s` : `${seconds / 60} min`;
  const shown = share === null || nines === null ? '–' : nines.toFixed(1);
  const figure = element('p', [element('output', shown), element('small', 'nines')]);
  const words =
    share === null ? 'nothing looked at' : late === 0 ? 'none was later' : `${whole(late)} were later`;
  return element(
    'div',
    [element('h3', `Within ${within}`), figure, element('div', words, 'muted')],
    late > 0 ? 'late' : '',
  );
}

export async function showOffenders(): Promise<void> {
  try {
    const { offenders } = await get<{ offenders: Offender[] }>('/api/consistency');
    byId('offenders-rows').replaceChildren(...offenders.map(row));
    const open = offenders.filter(({ mendedMs }) => mendedMs === null).length;
    setText(
      'offenders-said',
      offenders.length === 0
        ? 'None: whatever differed was on its way, and arrived.'
        : `${open} of ${offenders.length} are wrong still. “lockstep verify --repair” mends them; why they are wrong is to be found out.`,
    );
  } catch (error) {
    setText('offenders-said', wordsOf(error));
  }
}

function row({ collection, firstSeenMs, history, key, kind, mendedMs }: Offender): HTMLElement {
  const title = element('th', collection);
  title.setAttribute('scope', 'row');
  const looks = element('details', [
    element('summary', `${history.length} looks`),
    element(
      'ol',
      history.map((look) => element('li', textOf(look))),
      'history',
    ),
  ]);
  return element('tr', [
    title,
    element('td', key, 'key'),
    element('td', kind, mendedMs === null ? 'down' : ''),
    element('td', new Date(firstSeenMs).toLocaleString()),
    element('td', mendedMs === null ? 'not yet' : new Date(mendedMs).toLocaleString()),
    element('td', [looks]),
  ]);
}

function textOf({ atMs, entry, row, verdict }: Look): string {
  const time = new Date(atMs).toLocaleTimeString();
  return `${time} ${verdict}: entry ${entry ?? 'none'}, row ${row ?? 'none'}`;
}
