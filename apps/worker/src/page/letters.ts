import type { ShownLetter } from '../http/dead-letters.js';
import { get, post, wordsOf } from './api.js';
import { byId, element, setState, setText, whole } from './kit/index.js';

const LIMIT = 50;

/** The table of dead letters. Values stay at the server until somebody asks for one. */
export class Letters {
  #offset = 0;

  constructor() {
    byId('letters-filter').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#offset = 0;
      void this.show();
    });
    byId('letters-older').addEventListener('click', () => this.#turn(LIMIT));
    byId('letters-newer').addEventListener('click', () => this.#turn(-LIMIT));
    for (const action of ['replay', 'discard'] as const) {
      byId(`${action}-all`).addEventListener('click', () => void this.#act(action, undefined));
    }
  }

  #turn(by: number): void {
    this.#offset = Math.max(0, this.#offset + by);
    void this.show();
  }

  async show(said = ''): Promise<void> {
    const query = new URLSearchParams({ offset: String(this.#offset), limit: String(LIMIT) });
    const kind = byId<HTMLSelectElement>('letters-kind').value;
    const text = byId<HTMLInputElement>('letters-text').value.trim();
    if (kind !== '') query.set('kind', kind);
    if (text !== '') query.set('text', text);
    try {
      const { letters, searched } = await get<{ letters: ShownLetter[]; searched?: number }>(
        `/api/dead-letters?${query}`,
      );
      byId('letters-rows').replaceChildren(...letters.map((letter) => this.#row(letter)));
      const from = searched === undefined ? '' : ` among the newest ${whole(searched)}`;
      this.#say(
        `${said}${letters.length === 0 ? `None${from}.` : `${letters.length} shown${from}.`}`,
        'wait',
      );
      byId<HTMLButtonElement>('letters-newer').disabled = this.#offset === 0;
      byId<HTMLButtonElement>('letters-older').disabled = letters.length < LIMIT;
      for (const action of ['replay', 'discard']) {
        byId<HTMLButtonElement>(`${action}-all`).disabled = letters.length === 0;
      }
    } catch (error) {
      this.#say(wordsOf(error), 'bad');
    }
  }

  #row(letter: ShownLetter): HTMLElement {
    const { attempts, collection, error, failedAtMs, id, key, kind, version } = letter;
    const name = `${kind}${collection === null ? '' : ` ${collection}`}`;
    const title = element('th', name);
    title.setAttribute('scope', 'row');
    const about = `${name} ${key ?? id}`;
    const value = element('td', [], 'wide');
    if (letter.hasValue) {
      value.append(button('Show', `Show the value of ${about}`, () => void this.#reveal(id, value)));
    } else value.textContent = '–';
    const replay = button('Replay', `Replay ${about}`, () => void this.#act('replay', letter));
    replay.disabled = kind === 'unreadable';
    const discard = button('Discard', `Discard ${about}`, () => void this.#act('discard', letter));
    discard.classList.add('danger');
    return element('tr', [
      title,
      element('td', key ?? '–', 'key'),
      element('td', version === null ? '–' : String(version), 'n'),
      element('td', String(attempts), 'n'),
      element('td', new Date(failedAtMs).toLocaleString()),
      element('td', error, 'wide'),
      value,
      element('td', [replay, discard]),
    ]);
  }

  async #reveal(id: string, cell: HTMLElement): Promise<void> {
    try {
      const { value } = await post<{ value: string | null }>('/api/dead-letters/value', { id });
      cell.textContent = value ?? 'it is not there any more';
    } catch (error) {
      cell.textContent = wordsOf(error);
    }
  }

  /** Of one letter, or of all that there are. */
  async #act(action: 'replay' | 'discard', letter: ShownLetter | undefined): Promise<void> {
    const what = letter === undefined ? 'all dead letters, whatever the filter' : 'this dead letter';
    if (action === 'discard' && !confirm(`Forget ${what}? What a flush would have written is lost.`)) return;
    if (action === 'replay' && letter === undefined && !confirm('Queue all dead letters again?')) return;
    try {
      const ids = letter === undefined ? {} : { ids: [letter.id] };
      const { count } = await post<{ count: number }>(`/api/dead-letters/${action}`, ids);
      await this.show(`${action === 'replay' ? 'Replayed' : 'Discarded'} ${count}. `);
    } catch (error) {
      this.#say(wordsOf(error), 'bad');
    }
  }

  #say(text: string, state: 'bad' | 'wait'): void {
    setText('letters-said', text);
    setState('letters-said', state);
  }
}

function button(text: string, label: string, press: () => void): HTMLButtonElement {
  const made = element('button', text, 'act plain small') as HTMLButtonElement;
  made.type = 'button';
  made.setAttribute('aria-label', label);
  made.addEventListener('click', press);
  return made;
}
