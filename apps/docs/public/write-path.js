/**
 * `<write-path>`: the write path as an animation, with a fault to choose. Each scene is a list of steps; a step moves a
 * message between two places, and says what store and cache hold afterwards.
 */
const PLACES = {
  writer: { x: 80, y: 45, label: 'writer' },
  other: { x: 80, y: 225, label: 'another process' },
  store: { x: 250, y: 45, label: 'store' },
  feed: { x: 250, y: 145, label: 'its change feed' },
  cache: { x: 420, y: 45, label: 'cache' },
  relay: { x: 420, y: 225, label: 'relay' },
};

const step = (from, to, message, text, state = {}) => ({ from, to, message, text, ...state });
const begin = {
  text: 'Store and cache hold the row with stock 7, version 1.',
  store: '7, v1',
  cache: '7, v1',
  feed: '–',
};
const commit = step(
  'writer',
  'store',
  'stock 6',
  'The store commits the row as version 2, and records the change in its feed, in one transaction.',
  {
    store: '6, v2',
    feed: 'v2',
  },
);
const relayed = [
  step('feed', 'relay', 'v2', 'The relay finds the record.'),
  step(
    'relay',
    'cache',
    'floor v2',
    'It makes everything below version 2 unreadable: the next reader loads the row.',
    {
      cache: 'floor v2',
      feed: '–',
    },
  ),
];

const SCENES = [
  {
    name: 'Nothing fails',
    steps: [
      begin,
      step(
        'writer',
        'cache',
        'reserve',
        'The writer reserves the key, unless it put a value there a moment ago.',
      ),
      commit,
      step(
        'writer',
        'cache',
        '6, v2',
        'It puts the row into the cache: a script compares versions. The write is acknowledged.',
        {
          cache: '6, v2',
        },
      ),
      step('writer', 'feed', 'done', 'The record leaves the feed, some time later, with many others.', {
        feed: '–',
      }),
    ],
  },
  {
    name: 'The writer dies behind its commit',
    steps: [
      begin,
      commit,
      { text: 'The writer is killed. The cache still has version 1, and readers read it.', dead: 'writer' },
      ...relayed,
    ],
  },
  {
    name: 'Two writers arrive in the wrong order',
    steps: [
      begin,
      commit,
      step('other', 'store', 'stock 5', 'Another process writes: version 3.', {
        store: '5, v3',
        feed: 'v2, v3',
      }),
      step('other', 'cache', '5, v3', 'Its put reaches the cache first.', { cache: '5, v3' }),
      step(
        'writer',
        'cache',
        '6, v2',
        'The put of version 2 comes late. The script refuses it: 3 is there.',
        { refused: true },
      ),
    ],
  },
  {
    name: 'A slow reader fills what was just changed',
    steps: [
      { ...begin, cache: '–', text: 'The store holds version 1, the cache nothing.' },
      step('other', 'cache', 'lease', 'A reader misses, and takes the lease of the key.', { cache: 'lease' }),
      step('store', 'other', '7, v1', 'It loads version 1, and is held up on its way back.'),
      commit,
      step('writer', 'cache', '6, v2', 'The writer’s put replaces the lease.', { cache: '6, v2' }),
      step('other', 'cache', '7, v1', 'The fill comes with a lease that is gone. It is refused.', {
        refused: true,
      }),
    ],
  },
  {
    name: 'The cache is away',
    steps: [
      begin,
      { text: 'The cache can’t be reached. Reads go to the store.', dead: 'cache' },
      commit,
      step(
        'writer',
        'cache',
        '6, v2',
        'The put fails, and so does the invalidation. The write answers “deferred”: it is committed.',
        {
          refused: true,
          dead: 'cache',
        },
      ),
      { text: 'The cache is back with version 1. Nobody believes a hit before the feed is drained.' },
      ...relayed,
    ],
  },
];

const STYLE = `
  :host { display: block; box-sizing: border-box; border: 1px solid var(--sl-color-gray-5, #ccc); border-radius: 0.75rem; padding: 1rem; text-align: start; }
  svg { display: block; width: 100%; max-width: 38rem; height: auto; margin: 0.75rem auto; font: 17px system-ui, sans-serif; }
  rect { fill: var(--sl-color-bg-sidebar, #f4f4f6); stroke: var(--sl-color-gray-3, #888); }
  .dead rect { stroke-dasharray: 6 4; opacity: 0.5; }
  text { fill: var(--sl-color-text, #222); text-anchor: middle; }
  .held { font-weight: 600; fill: var(--sl-color-text-accent, #0b6b57); }
  .message rect { fill: var(--sl-color-accent, #0b6b57); stroke: none; }
  .message text { fill: #fff; font-size: 14px; }
  .message.refused rect { fill: #b3261e; }
  .message { transition: transform 900ms ease-in-out; }
  @media (prefers-reduced-motion: reduce) { .message { transition: none; } }
  .controls { display: flex; flex-wrap: wrap; gap: 0.5rem; align-items: center; }
  label { display: flex; flex: 1 1 12rem; gap: 0.5rem; align-items: center; min-width: 0; white-space: nowrap; }
  .controls > span { margin-inline-start: auto; font-size: 0.875em; }
  select { flex: 1 1 0; min-width: 0; text-overflow: ellipsis; }
  select, button { font: inherit; padding: 0.35rem 0.8rem; border-radius: 0.375rem; border: 1px solid var(--sl-color-gray-3, #888);
    background: var(--sl-color-bg, #fff); color: var(--sl-color-text, #222); cursor: pointer; }
  button:disabled { opacity: 0.5; cursor: default; }
  :focus-visible { outline: 2px solid var(--sl-color-text-accent, #0b6b57); outline-offset: 2px; }
  p { margin: 0.5rem 0 0; min-height: 4.5em; line-height: 1.5; color: var(--sl-color-text, #222); }
`;

class WritePath extends HTMLElement {
  #scene = SCENES[0];
  #index = 0;

  connectedCallback() {
    const root = this.attachShadow({ mode: 'open' });
    const options = SCENES.map(({ name }, index) => `<option value="${index}">${name}</option>`).join('');
    root.innerHTML = `<style>${STYLE}</style>
      <div class="controls">
        <label>What fails <select>${options}</select></label>
        <button type="button" data-by="-1">Back</button>
        <button type="button" data-by="1">Next step</button>
        <span></span>
      </div>
      <svg viewBox="0 0 500 300" role="img" aria-label="Writer, store with its change feed, cache, relay, and the message of this step"></svg>
      <p aria-live="polite"></p>`;
    root.querySelector('select').addEventListener('change', (event) => {
      this.#scene = SCENES[Number(event.target.value)];
      this.#index = 0;
      this.#draw();
    });
    for (const button of root.querySelectorAll('button')) {
      button.addEventListener('click', () => {
        this.#index = Math.min(
          Math.max(this.#index + Number(button.dataset.by), 0),
          this.#scene.steps.length - 1,
        );
        this.#draw();
      });
    }
    this.#draw();
  }

  #draw() {
    const root = this.shadowRoot;
    const { steps } = this.#scene;
    const current = steps[this.#index];
    const held = Object.assign(
      {},
      ...steps.slice(0, this.#index + 1).map(({ store, cache, feed }) => ({
        ...(store && { store }),
        ...(cache && { cache }),
        ...(feed && { feed }),
      })),
    );
    const places = Object.entries(PLACES).map(
      ([name, { label, x, y }]) => `
      <g class="${current.dead === name ? 'dead' : ''}">
        <rect x="${x - 75}" y="${y - 40}" width="150" height="70" rx="8"/>
        <text x="${x}" y="${y - 12}">${label}</text>
        <text class="held" x="${x}" y="${y + 14}">${held[name] ?? ''}</text>
      </g>`,
    );
    const { from, message, to } = current;
    const moved =
      from === undefined
        ? ''
        : `
      <g class="message${current.refused ? ' refused' : ''}" transform="translate(${PLACES[from].x} ${PLACES[from].y + 45})">
        <rect x="-46" y="-13" width="92" height="26" rx="13"/><text y="5">${message}</text>
      </g>`;
    root.querySelector('svg').innerHTML = places.join('') + moved;
    root.querySelector('p').textContent = current.text;
    root.querySelector('span').textContent = `${this.#index + 1} of ${steps.length}`;
    const [back, next] = root.querySelectorAll('button');
    back.disabled = this.#index === 0;
    next.disabled = this.#index === steps.length - 1;
    const group = root.querySelector('.message');
    if (group === null) return;
    // A frame at the start, so that the browser has a place to move it from.
    group.style.transform = `translate(${PLACES[from].x}px, ${PLACES[from].y + 45}px)`;
    group.getBoundingClientRect();
    group.style.transform = `translate(${PLACES[to].x}px, ${PLACES[to].y + 45}px)`;
  }
}

customElements.define('write-path', WritePath);
