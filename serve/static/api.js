// Requests to the server. Addresses are relative, so any base URL works.

/** The server answered with an error; `body` is its JSON. */
export class Refused extends Error {
  constructor(status, body) {
    super(body?.error ?? body?.message ?? body?.detail ?? `the server answered ${status}`);
    this.status = status;
    this.body = body ?? {};
  }
}

/** No answer came. */
export class Unreachable extends Error {
  constructor() {
    super('the server does not answer');
  }
}

export const SESSION_ENDED = 'The server was started again. Open the address that gigaslide view '
  + 'printed now; your work will be offered';

/** The reason of a refusal, and what to do, in words. */
export const explain = (error) => (error.status === 401 ? SESSION_ENDED : error.message);

/** Fires `change`; `up` tells whether the last request reached the server. */
export const connection = Object.assign(new EventTarget(), {up: true});
const HEARTBEAT_MS = 2000;
const PATIENCE_MS = 2500;

function tell(up) {
  if (connection.up === up) return;
  connection.up = up;
  connection.dispatchEvent(new Event('change'));
}

/** Fetch; a lost connection is told to `connection`, an aborted request is not. */
export async function request(path, {method = 'GET', json, headers = {}, signal, ...rest} = {}) {
  const own = {...headers};
  if (method !== 'GET') {
    own['X-Gigaslide'] = '1';
    own['Content-Type'] = 'application/json';
  }
  let response;
  try {
    response = await fetch(path, {
      method, signal, headers: own, credentials: 'same-origin',
      body: json === undefined ? undefined : JSON.stringify(json), ...rest,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    tell(false);
    throw new Unreachable();
  }
  tell(true);
  if (!response.ok) {
    let body = {};
    try {
      body = await response.json();
    } catch { /* an error without JSON */ }
    throw new Refused(response.status, body);
  }
  return response;
}

/** Fetch JSON; null for an empty answer. */
export async function fetchJson(path, options) {
  const response = await request(path, options);
  return response.status === 204 ? null : response.json();
}

export const slidePath = (id, rest = '') => `api/slides/${encodeURIComponent(id)}${rest}`;

/** Ask for a sign of life, so that a lost server is seen within 5 s. */
export function startHeartbeat() {
  const beat = async () => {
    if (document.visibilityState === 'visible' || !connection.up) {
      try {
        const answer = await fetch('health', {signal: AbortSignal.timeout(PATIENCE_MS)});
        tell(answer.ok);
      } catch {
        tell(false);
      }
    }
    setTimeout(beat, HEARTBEAT_MS);
  };
  setTimeout(beat, HEARTBEAT_MS);
}
