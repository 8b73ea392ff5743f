/** An answer that is no success, with the server's own words. */
export class ApiError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Rejects with `ApiError`. */
export async function get<Answer>(path: string): Promise<Answer> {
  return await answered(path, {});
}

/** Rejects with `ApiError`. */
export async function post<Answer>(path: string, body: object): Promise<Answer> {
  const headers = { 'content-type': 'application/json' };
  return await answered(path, { method: 'POST', headers, body: JSON.stringify(body) });
}

async function answered<Answer>(path: string, request: RequestInit): Promise<Answer> {
  // The browser's own words say neither who did not answer nor what to do.
  const response = await fetch(path, request).catch(() => {
    throw new ApiError(0, 'The worker does not answer: is it running?');
  });
  const answer = (await response.json().catch(() => ({}))) as Answer & { readonly error?: string };
  if (response.ok) return answer;
  throw new ApiError(response.status, answer.error ?? `answered ${response.status}`);
}

export function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
