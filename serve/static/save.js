// Saves of one slide: drafts at most once a second, versions on demand, and what happens when the
// server is away, has a newer version, or knows another slide.
import {Unreachable, connection, explain, fetchJson, request, slidePath} from './api.js';
import {resolveConflict} from './conflict.js';
import {ask, h, throttle, toast} from './dom.js';
import {Drafts} from './drafts.js';
import {TAB} from './kept_work.js';
import {sameOutlines} from './outlines.js';

const DRAFT_MS = 1000;
const GEOJSON = 'FeatureCollection';
const mayComeLater = (error) => error instanceof Unreachable || error.status === 503;

/** The outlines of a version, or of the newest one: {features, version, about}. */
export async function loadVersion(id, number, signal) {
  const which = number === undefined ? '' : `?version=${number}`;
  const answer = await request(slidePath(id, `/outlines${which}`), {signal, cache: 'no-cache'});
  const version = Number((answer.headers.get('ETag') ?? '0').replaceAll(/[^0-9]/g, ''));
  const {features, gigaslide} = await answer.json();
  return {features, version, about: gigaslide ?? {}};
}

/** Fires `change`; `state` is saved, unsaved, saving, waiting (for the server) or refused. */
export class Saving extends EventTarget {
  constructor({id, v, outlines, tools, edits, signal, readOnly, facts, annotator}) {
    super();
    Object.assign(this, {id, outlines, tools, edits, signal, readOnly, facts, annotator});
    this.state = 'saved';
    this.running = null; // promise of the save that runs
    this.wanted = null; // a save that waits for the server: {accepted}
    this.sent = []; // saves whose answer was lost: {features, version}
    this.slideChanged = false;
    this.about = {}; // provenance of the version on the pane
    this.drafts = new Drafts({id, v, annotator, signal, onrefused: (error) => this.refused(error)});
    this.draftSoon = throttle(() => this.draft(), DRAFT_MS);
    outlines.addEventListener('change', () => this.changed());
    tools.onsketch = () => this.changed();
    edits.onchange = () => this.changed();
    connection.addEventListener('change', () => connection.up && this.comeBack(), {signal});
  }

  /** Work that no version has: changed outlines, an unfinished one, strokes that wait. */
  get unsaved() {
    return !this.readOnly && (this.outlines.dirty || this.tools.sketch !== null
      || this.edits.waiting.length > 0);
  }

  changed() {
    if (this.signal.aborted || this.readOnly) return;
    if (!this.running) this.tell(this.wanted ? 'waiting' : this.unsaved ? 'unsaved' : 'saved');
    this.draftSoon();
    if (!this.edits.waiting.length && connection.up && !this.running) this.saveWanted();
  }

  tell(state) {
    this.state = state;
    this.dispatchEvent(new Event('change'));
  }

  /** The unsaved work now, as a draft keeps it; null if there is none. */
  work() {
    if (!this.unsaved) return null;
    const {features, version} = this.outlines;
    const {sketch, name: tool} = this.tools;
    return {parent: version, features, sketch, tool, steps: this.edits.steps};
  }

  /** Keep the work of this moment, in this browser and as a draft on the server. */
  async draft() {
    if (!this.readOnly) await this.drafts.put(this.work());
  }

  /** The page goes. */
  draftLast() {
    if (!this.readOnly) this.drafts.putLast(this.work());
  }

  refused(error) {
    toast(`Not saved: ${explain(error)}. Your work is kept in this browser.`, 'error');
    this.tell('refused');
  }

  /** The work of another tab is ours now: keep it as our draft, then remove the other one. */
  async adopt(tab) {
    await this.draft();
    if (tab !== TAB) await this.drafts.remove(tab);
  }

  comeBack() {
    if (this.signal.aborted) return;
    if (this.running) this.running.then(() => this.saveWanted());
    else if (this.wanted) this.saveWanted();
    else if (this.unsaved) this.draft();
    this.dispatchEvent(new Event('change'));
  }

  saveWanted() {
    if (this.wanted && !this.signal.aborted) this.save(this.wanted);
  }

  /** Save a version, after the save that runs; what cannot be saved now is kept, and told. Returns
   * whether a version was made. */
  save({accepted = false} = {}) {
    if (this.readOnly) return Promise.resolve(false);
    if (this.running) {
      const toldBefore = this.state !== 'saving'; // a person read that it failed, and tries again
      return this.running.then((made) =>
        ((made || toldBefore) && (accepted || this.unsaved) ? this.save({accepted}) : made));
    }
    this.tell('saving');
    this.running = this.saveWithStrokes(accepted).finally(() => { this.running = null; });
    return this.running;
  }

  async saveWithStrokes(accepted) {
    await this.edits.idle();
    if (!this.edits.waiting.length) return this.saveNow(accepted);
    this.wanted = {accepted}; // a version without them would not be what the page shows
    this.tell('waiting');
    await this.draft();
    return false;
  }

  async saveNow(accepted) {
    const {features, version} = this.outlines;
    try {
      const made = await fetchJson(slidePath(this.id, '/outlines'), {
        method: 'POST', headers: {'If-Match': `"${version}"`},
        json: {
          outlines: {type: GEOJSON, features}, accepted, tab: TAB, slide_changed: this.slideChanged,
          ...this.facts,
        },
      });
      await this.takeSaved(features, made, accepted);
      return true;
    } catch (error) {
      if (error instanceof Unreachable) this.sent.push({features, version});
      return this.cannotSave(error, accepted);
    }
  }

  async takeSaved(features, {version, notes = []}, accepted) {
    this.wanted = null;
    this.sent = [];
    for (const note of notes) toast(`Saved with a repair: ${note}`);
    let stored = features;
    this.about = {made: Date.now() / 1000, accepted};
    try {
      ({features: stored, about: this.about} = await loadVersion(this.id, version, this.signal));
    } catch { /* the version is on disk; the page goes on with its own copy */ }
    this.outlines.saved(features, version, stored);
    this.drafts.removedByServer();
    await this.draft(); // of work done meanwhile; without any, the draft goes
    this.tell(this.unsaved ? 'unsaved' : 'saved');
    this.onsaved?.();
  }

  async cannotSave(error, accepted) {
    this.tell('refused');
    if (this.signal.aborted) return false;
    try {
      if (error.status === 409) return await this.meetConflict(accepted);
      if (error.status === 410) return await this.confirmSlide(error, accepted);
    } catch (later) {
      error = later;
    }
    if (mayComeLater(error)) {
      this.wanted = {accepted};
      this.tell('waiting');
      if (!(error instanceof Unreachable)) setTimeout(() => this.comeBack(), 2 * DRAFT_MS);
    } else {
      this.wanted = null;
      this.refused(error);
    }
    await this.draft();
    return false;
  }

  async meetConflict(accepted) {
    await this.draft();
    const {outlines} = this;
    const theirs = await loadVersion(this.id, undefined, this.signal);
    const {features, version} = outlines;
    const ours = [...this.sent, {features, version}].find((one) => this.isOurs(theirs, one));
    if (ours) { // the answer to our save was lost
      await this.takeSaved(ours.features, theirs, theirs.about.accepted);
      return outlines.dirty || (accepted && !theirs.about.accepted) ? this.saveNow(accepted) : true;
    }
    const outcome = await resolveConflict(outlines, theirs, this.annotator);
    if (!outcome) {
      this.wanted = null;
      this.tell('unsaved');
      return false;
    }
    outlines.version = theirs.version;
    outlines.base = Object.freeze([...theirs.features]);
    if (outcome.features) outlines.apply(outcome.label, outcome.features);
    const made = await this.saveNow(accepted && !outcome.restore);
    if (made && outcome.restore) await this.restore(outcome.restore, outcome.label);
    return made;
  }

  isOurs({about, features}, sent) {
    return (about.annotator ?? '') === (this.annotator ?? '') && about.parent === sent.version
      && sameOutlines(features, sent.features);
  }

  /** Write an earlier version again as the newest, and show it. */
  async restore(number, label) {
    const made = await fetchJson(slidePath(this.id, `/versions/${number}/restore`), {
      method: 'POST', json: {}, headers: {'If-Match': `"${this.outlines.version}"`},
    });
    this.take(await loadVersion(this.id, made.version, this.signal), label);
    return made.version;
  }

  /** Show a version that was saved elsewhere, unless there is work that a save compares with it. */
  async catchUp() {
    const theirs = await loadVersion(this.id, undefined, this.signal);
    const isNewer = theirs.version > this.outlines.version;
    if (this.signal.aborted || !isNewer || this.unsaved || this.running) return;
    this.take(theirs, `Version ${theirs.version}`);
    const {annotator} = theirs.about;
    toast(`Version ${theirs.version} was saved meanwhile${annotator ? ` by ${annotator}` : ''}, and is shown now`);
  }

  /** Show a version as a step that can be undone. */
  take({features, version, about}, label) {
    this.outlines.apply(label, features);
    this.outlines.saved(this.outlines.features, version, features);
    this.about = about;
    this.tell(this.unsaved ? 'unsaved' : 'saved');
    this.onsaved?.();
  }

  async confirmSlide(error, accepted) {
    const answer = await ask({
      title: 'The slide has changed',
      content: [h('p', {}, error.message), h('p', {}, 'Check that the outlines lie where they should.')],
      answers: [['later', 'Look first'], ['save', 'They fit: save', 'main']],
    });
    if (answer !== 'save') {
      this.tell('unsaved');
      return false;
    }
    this.slideChanged = true;
    return this.saveNow(accepted);
  }
}
