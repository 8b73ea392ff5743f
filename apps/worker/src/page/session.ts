import { get, post, wordsOf } from './api.js';
import { byId, setState, setText } from './kit/index.js';

interface Session {
  readonly passes: boolean;
  /** A token is what lets people in; otherwise a proxy does. */
  readonly login: boolean;
}

/** Resolves once this page may see the dashboard: at once, or when somebody has logged in. */
export async function admitted(): Promise<void> {
  const session = await get<Session>('/api/session');
  byId('leave').hidden = !session.login;
  if (session.passes) return;
  setText('run', '');
  setText('state', 'not logged in');
  setState('state', 'wait');
  byId('no-login').hidden = session.login;
  byId('login').hidden = !session.login;
  byId('token').focus();
  await new Promise<void>((resolve) => {
    byId('login').addEventListener('submit', (event) => {
      event.preventDefault();
      void logIn().then((passes) => passes && resolve());
    });
  });
  byId('login').hidden = true;
}

async function logIn(): Promise<boolean> {
  const input = byId<HTMLInputElement>('token');
  try {
    await post('/api/session', { token: input.value });
    return true;
  } catch (error) {
    setText('login-said', wordsOf(error));
    return false;
  } finally {
    input.value = '';
  }
}

export function startLeaving(): void {
  byId('leave').addEventListener('click', () => {
    void post('/api/session/end', {}).then(() => location.reload());
  });
}
