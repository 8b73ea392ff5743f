import { byId } from './dom.js';

/** The system's theme until the button with the id `theme` says otherwise; `onChange` is told of each change. */
export function startTheme(key: string, onChange: () => void): void {
  const system = matchMedia('(prefers-color-scheme: dark)');
  const apply = () => {
    const chosen = localStorage.getItem(key);
    document.documentElement.dataset['theme'] = chosen ?? (system.matches ? 'dark' : 'light');
  };
  apply();
  system.addEventListener('change', () => {
    apply();
    onChange();
  });
  byId('theme').addEventListener('click', () => {
    localStorage.setItem(key, document.documentElement.dataset['theme'] === 'dark' ? 'light' : 'dark');
    apply();
    onChange();
  });
}

/** A colour of the theme. */
export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
