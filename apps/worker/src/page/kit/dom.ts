/** The element with an id that the page is known to have. */
export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`the page has no #${id}`);
  return element as T;
}

/** Writes only what changes, so that nothing is selected, announced or laid out anew for nothing. */
export function setText(id: string, text: string): void {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

export function setState(id: string, state: 'good' | 'bad' | 'wait'): void {
  const element = byId(id);
  if (element.dataset['state'] !== state) element.dataset['state'] = state;
}

/** An element with text, or with children. */
export function element(tag: string, content: string | readonly Node[], className = ''): HTMLElement {
  const made = document.createElement(tag);
  if (className !== '') made.className = className;
  if (typeof content === 'string') made.textContent = content;
  else made.append(...content);
  return made;
}
