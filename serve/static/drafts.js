// Drafts of one slide: unsaved work goes into this browser first, then to the server, and is
// offered when the slide is opened again.
import {fetchJson, slidePath} from './api.js';
import {ask, formatTime, h, toast} from './dom.js';
import {TAB, forget, keep, keptOf, newId, openTabs} from './kept_work.js';

const MOST_KEPT_ALIVE = 60_000; // bytes of a request that outlives the page; browsers allow 64 KiB

const sameWork = (one, other) => one?.features === other?.features && one?.parent === other?.parent
  && JSON.stringify([one?.sketch, one?.steps]) === JSON.stringify([other?.sketch, other?.steps]);

/** One draft is being written and at most one waits, always the newest. */
export class Drafts {
  constructor({id, v, annotator, signal, onrefused}) {
    Object.assign(this, {id, v, annotator, signal, onrefused});
    this.next = undefined; // to be written next; null: remove the draft
    this.written = null; // as the server has it
    this.removals = 0; // of the draft on the server
    this.known = false; // whether there may be one to remove
    this.writing = null;
  }

  body({features, ...draft}) {
    return JSON.stringify({type: 'FeatureCollection', ...draft, features});
  }

  /** Write this work, or remove the draft if it is null. */
  put(work) {
    this.next = work && {...work, v: this.v, annotator: this.annotator, time: Date.now() / 1000};
    this.writing ??= this.workOff();
    return this.writing;
  }

  async workOff() {
    while (this.next !== undefined) {
      const work = this.next;
      this.next = undefined;
      if (work) await this.write(work);
      else if (this.known) await this.remove();
    }
    this.writing = null;
  }

  async write(work) {
    if (this.written && sameWork(work, this.written)) return;
    this.known = true;
    const {removals} = this;
    await this.keep(work);
    try {
      await fetchJson(slidePath(this.id, `/drafts/${TAB}`), {method: 'PUT', body: this.body(work)});
      if (removals === this.removals) this.written = work;
    } catch (error) {
      if (error.status === 507 || error.status === 401) this.onrefused(error);
    }
  }

  async keep(work) {
    try {
      await keep({slide: this.id, tab: TAB, ...work});
    } catch (error) {
      toast(`This browser cannot keep drafts: ${error.message}`, 'error');
    }
  }

  /** The page goes: write what a browser still sends, at once and without an answer. */
  putLast(work) {
    if (!work) return;
    const last = {...work, v: this.v, annotator: this.annotator, time: Date.now() / 1000};
    this.known = true;
    this.keep(last);
    const body = this.body(last);
    if (new TextEncoder().encode(body).length >= MOST_KEPT_ALIVE) return;
    fetchJson(slidePath(this.id, `/drafts/${TAB}`), {method: 'PUT', body, keepalive: true})
      .catch(() => {});
  }

  /** The server has removed the draft of this tab. */
  removedByServer() {
    this.removals += 1;
    this.written = null;
  }

  async remove(tab = TAB) {
    if (tab === TAB) {
      this.removedByServer();
      this.known = false;
    }
    await forget(this.id, this.v, tab).catch(() => {});
    await fetchJson(slidePath(this.id, `/drafts/${tab}`), {method: 'DELETE'}).catch(() => {});
  }

  /** Offer unsaved work of an earlier session: the draft to go on with, or null. */
  async offer() {
    const [kept, alive] = await Promise.all([keptOf(this.id, this.v).catch(() => []), openTabs()]);
    const found = kept.filter(({tab}) => !alive.has(tab));
    try {
      await this.addOfServer(found, alive);
    } catch (error) {
      if (!this.signal.aborted) toast(`Drafts on the server: ${error.message}`, 'error');
    }
    const own = found.filter((draft) => (draft.annotator ?? '') === (this.annotator ?? '')
      && (draft.v ?? this.v) === this.v);
    for (const draft of own.sort((a, b) => b.time - a.time)) {
      if (this.signal.aborted) return null;
      this.onask?.();
      const answer = await askAbout(draft);
      if (answer === 'go on') return draft;
      if (answer !== 'discard') {
        if (draft.tab === TAB) await this.setAside(draft);
        return null;
      }
      await this.remove(draft.tab);
    }
    return null;
  }

  /** Give the draft another name, since this tab writes its own. */
  async setAside(draft) {
    const tab = newId();
    await this.keep({...draft, tab});
    const body = this.body({...draft, tab});
    await fetchJson(slidePath(this.id, `/drafts/${tab}`), {method: 'PUT', body}).catch(() => {});
    await this.remove(TAB);
  }

  async addOfServer(found, alive) {
    const {signal} = this;
    const listed = await fetchJson(slidePath(this.id, '/drafts'), {signal});
    for (const {tab, saved} of listed.drafts) {
      if (alive.has(tab) || found.some((draft) => draft.tab === tab)) continue;
      const draft = await fetchJson(slidePath(this.id, `/drafts/${tab}`), {signal});
      found.push({parent: 0, ...draft, tab, time: saved});
    }
  }
}

function askAbout({time, features, parent, sketch, steps}) {
  const count = `${features.length} outline${features.length === 1 ? '' : 's'}`;
  const more = (sketch ? ', an unfinished one' : '')
    + (steps?.length ? `, ${steps.length} stroke${steps.length === 1 ? '' : 's'} to be sent` : '');
  return ask({
    title: 'Unsaved work was found',
    content: [h('p', {}, `From ${formatTime(time)}: ${count}${more}, `
      + `begun on ${parent ? `version ${parent}` : 'an empty slide'}.`)],
    answers: [['later', 'Decide later'], ['discard', 'Discard', 'danger'], ['go on', 'Go on with it', 'main']],
  });
}
