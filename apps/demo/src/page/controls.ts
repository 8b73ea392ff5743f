import { byId, setText } from '@lockstep/worker/page';

const REST_MS = 1_000;

/** The buttons; `onForeign` is told which product was updated behind the cache's back. */
export function startControls(onForeign: (id: string) => void): void {
  for (const button of document.querySelectorAll<HTMLButtonElement>('button[data-fault]')) {
    const name = button.dataset['fault'] ?? '';
    if (name !== 'foreign-write') button.addEventListener('click', () => void press(button, name, {}));
  }
  byId('foreign').addEventListener('submit', (event) => {
    event.preventDefault();
    const button = document.querySelector<HTMLButtonElement>('button[data-fault="foreign-write"]');
    const id = byId<HTMLInputElement>('foreign-id').value;
    if (button !== null) void press(button, 'foreign-write', { id: Number(id) }).then(() => onForeign(id));
  });
}

async function press(button: HTMLButtonElement, name: string, body: object): Promise<void> {
  button.disabled = true;
  // The words for another store are there as well, and not shown.
  const labels = [...button.querySelectorAll('b')];
  const label = labels.find((one) => one.checkVisibility())?.textContent ?? name;
  try {
    const response = await fetch(`/faults/${name}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    const answer = (await response.json()) as { message?: string; version?: number; id?: number };
    if (!response.ok) setText('said', `${label}: ${answer.message ?? response.status}.`);
    else if (answer.version !== undefined) {
      setText('said', `${label}: product ${answer.id} is at version ${answer.version} now.`);
    } else setText('said', `${label}: done. Watch the figures.`);
  } catch {
    setText('said', `${label}: the shop does not answer.`);
  }
  // A second press right away would only be refused.
  setTimeout(() => {
    button.disabled = false;
  }, REST_MS);
}
