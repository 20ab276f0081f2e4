// Work that is not saved yet, kept in this browser (IndexedDB) until the server has it.

const STORE = 'drafts';

function open() {
  return new Promise((resolve, reject) => {
    const asked = indexedDB.open(`gigaslide ${location.pathname}`, 1);
    asked.onupgradeneeded = () => asked.result.createObjectStore(STORE);
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  });
}

async function act(mode, work) {
  const base = await open();
  try {
    return await new Promise((resolve, reject) => {
      const change = base.transaction(STORE, mode);
      const asked = work(change.objectStore(STORE));
      change.oncomplete = () => resolve(asked.result);
      change.onerror = () => reject(change.error);
      change.onabort = () => reject(change.error);
    });
  } finally {
    base.close();
  }
}

// `v` is the identity of the slide: another slide under the same id has drafts of its own.
const key = (slide, v, tab) => `${slide}\n${v}\n${tab}`;
const range = (slide, v) => IDBKeyRange.bound(`${slide}\n${v}\n`, `${slide}\n${v}\n\uffff`);

/** Keep {slide, v, tab, parent, time, features, sketch, steps}. */
export const keep = (draft) =>
  act('readwrite', (store) => store.put(draft, key(draft.slide, draft.v, draft.tab)));

export const forget = (slide, v, tab) =>
  act('readwrite', (store) => store.delete(key(slide, v, tab)));

/** All that is kept of a slide, by any tab of this browser. */
export const keptOf = (slide, v) => act('readonly', (store) => store.getAll(range(slide, v)));

/** A random UUID; crypto.randomUUID is missing on plain http. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const text = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return [0, 8, 12, 16, 20].map((at, k, all) => text.slice(at, all[k + 1])).join('-');
}

/** Id of this tab. It survives a reload; a duplicated tab gets its own. */
export const TAB = (() => {
  const [entry] = performance.getEntriesByType('navigation');
  const before = entry?.type === 'reload' ? sessionStorage.getItem('tab') : null;
  const id = before ?? newId();
  sessionStorage.setItem('tab', id);
  return id;
})();

const tabs = new BroadcastChannel('gigaslide tabs');
tabs.onmessage = ({data}) => {
  if (data === 'who') tabs.postMessage(TAB);
};

/** Ids of the other tabs of this browser that are open now. */
export function openTabs() {
  return new Promise((resolve) => {
    const found = new Set();
    const listen = ({data}) => data !== 'who' && found.add(data);
    tabs.addEventListener('message', listen);
    tabs.postMessage('who');
    setTimeout(() => {
      tabs.removeEventListener('message', listen);
      resolve(found);
    }, 150);
  });
}
