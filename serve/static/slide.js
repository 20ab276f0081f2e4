// One open slide: its pane, overlays, outlines, tools and saves. After close() nothing that was
// asked for this slide is drawn any more.
import {Activity} from './activity.js';
import {Refused, SESSION_ENDED, connection, fetchJson, slidePath} from './api.js';
import {ask, byId, h, toast} from './dom.js';
import {OutlineCommands} from './commands.js';
import {Tools} from './draw.js';
import {Edits} from './edits.js';
import {Heatmap} from './heatmap.js';
import {SlideMap} from './map.js';
import {OutlineLayer} from './outline_layer.js';
import {Outlines} from './outlines.js';
import {OverviewMap} from './overview_map.js';
import {Saving, loadVersion} from './save.js';
import {SlidePanels} from './slide_panels.js';

const AGAIN_MS = 3000;

export class OpenSlide {
  constructor(id, {session, classes}) {
    Object.assign(this, {id, session, classes});
    this.stop = new AbortController();
    this.signal = this.stop.signal;
    this.outlines = new Outlines();
    this.stage = 'loading'; // the outlines: loading, asking (a person), loaded, or missing
    this.readOnly = true; // until they are loaded
  }

  /** Load the slide and show the place of the link, or all of it. */
  async open(place) {
    const geometry = await fetchJson(slidePath(this.id), {signal: this.signal});
    if (this.signal.aborted) return;
    this.geometry = geometry;
    this.slideMap = new SlideMap(byId('map'), this.id, geometry, this.signal, (error) => this.tileMissing(error));
    if (place) this.slideMap.go(place, 0);
    const {slideMap, outlines, classes, signal} = this;
    this.heatmap = new Heatmap(slideMap);
    this.layer = new OutlineLayer(slideMap, outlines, classes);
    this.edits = new Edits(outlines, classes, signal);
    const {edits, layer, readOnly} = this;
    this.tools = new Tools({slideMap, layer, outlines, classes, edits, readOnly});
    this.saving = new Saving({
      id: this.id, v: geometry.v, outlines, tools: this.tools, edits, signal, readOnly,
      facts: {blind: false, mode: geometry.mode ?? ''},
      annotator: this.session.annotator,
    });
    this.commands = new OutlineCommands(this);
    this.overview = new OverviewMap(slideMap);
    this.panels = new SlidePanels(this);
    this.saving.onsaved = () => this.savedNow();
    if (!this.session.read_only) this.activity = new Activity(this.id, geometry.mode ?? '', signal);
  }

  load() {
    return Promise.all([this.loadOutlines(), this.loadHeatmap()]);
  }

  tileMissing(error) {
    if (this.told === error.status) return;
    this.told = error.status;
    if (error.status === 410) toast('The slide was replaced on disk; reload the page to see the new one.', 'error');
    else if (error.status === 401) toast(SESSION_ENDED, 'error');
    else if (error.status === 200) toast(`The hatched parts of this slide cannot be read: ${error.message}`);
    else toast(`Parts of the slide are late: ${error.message}. They are asked for again.`);
  }

  /** Nothing is drawn before, or without, the outlines that are there. */
  async loadOutlines() {
    while (!this.signal.aborted) {
      try {
        return await this.takeOutlines(await this.newest());
      } catch (error) {
        if (this.signal.aborted) return;
        this.enter('missing');
        const final = error instanceof Refused && error.status < 500 && error.status !== 401;
        toast(`The outlines are not loaded: ${error.status === 401 ? SESSION_ENDED : error.message}`, 'error');
        if (final) return;
        await this.pause();
      }
    }
  }

  /** Wait a moment, or, without a server, until it is back. */
  async pause() {
    do {
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    } while (!connection.up && !this.signal.aborted);
  }

  enter(stage) {
    if (this.signal.aborted) return;
    this.stage = stage;
    this.readOnly = stage !== 'loaded' || this.session.read_only || this.onlyLook === true;
    for (const one of [this.tools, this.saving, this.commands]) one.readOnly = this.readOnly;
    this.panels.showState();
  }

  async takeOutlines({features, version, about}) {
    if (this.signal.aborted) return;
    this.saving.about = about;
    this.classes.learn(features);
    this.outlines.reset(features, version);
    if (this.geometry.changed?.length) await this.confirmSlide();
    this.saving.drafts.onask = () => this.enter('asking');
    const asks = !this.session.read_only && !this.onlyLook;
    const draft = asks ? await this.saving.drafts.offer() : null;
    this.enter('loaded');
    this.panels.versions.show().catch(() => {});
    if (!this.signal.aborted && draft) this.takeDraft(draft, version);
  }

  /** Show what was saved elsewhere: in the list of versions, and on the pane. */
  async refresh() {
    if (this.stage !== 'loaded') return;
    const newest = await this.panels.versions.show();
    if (newest > this.outlines.version) await this.saving.catchUp();
  }

  /** After a save: list it; show the model, if it was held back until somebody accepted the slide. */
  async savedNow() {
    const {geometry, saving, panels} = this;
    panels.versions.show().catch(() => {});
    if (!geometry.model_hidden || !saving.about.accepted) return;
    const {model_hidden, has_heatmap} = await fetchJson(slidePath(this.id), {signal: this.signal});
    Object.assign(geometry, {model_hidden, has_heatmap});
    panels.showMode();
    await this.loadHeatmap();
  }

  /** The version to go on with. The server holds back what must not be seen on this slide. */
  async newest() {
    const found = await loadVersion(this.id, undefined, this.signal);
    this.saving.facts.blind = this.geometry.blind;
    this.panels.showMode();
    return found;
  }

  /** The slide is not the one that was outlined: nothing is changed until a person has looked. */
  async confirmSlide() {
    this.enter('asking');
    const answer = await ask({
      title: 'This is another slide than the outlined one',
      content: [h('p', {}, `Since the last version: ${this.geometry.changed.join('; ')}.`),
        h('p', {}, 'Look whether the outlines lie where they should.')],
      answers: [['', 'Only look', 'main'], ['fit', 'They fit: let me change them']],
    });
    if (answer === 'fit') this.saving.slideChanged = true;
    else this.onlyLook = true;
  }

  /** Go on with unsaved work; if it began on an older version, the save will tell. */
  takeDraft({tab, features, parent, sketch, tool, steps}, version) {
    this.outlines.version = parent;
    this.outlines.apply('Unsaved work', features);
    if (parent !== version) toast(`This work began on version ${parent}; the newest is ${version}.`);
    if (sketch?.length > 1) this.tools.resume(sketch, tool);
    this.edits.replay(steps);
    this.saving.adopt(tab);
  }

  async loadHeatmap() {
    const {has_heatmap: exists, model_hidden: hidden} = this.geometry;
    if (!exists) return this.panels.showHeatmap(null, hidden);
    try {
      const about = await this.heatmap.load(this.signal);
      if (!this.signal.aborted) this.panels.showHeatmap(about, false);
    } catch (error) {
      if (!this.signal.aborted) toast(`Heatmap: ${error.message}`, 'error');
    }
  }

  /** Whoever leaves a slide leaves a version there, or, without a server, a draft. */
  async leave() {
    const {saving, tools, edits} = this;
    if (!saving?.unsaved || !connection.up) return; // close() keeps all as it is
    tools.finish();
    tools.cancel(); // two corners are no outline
    await edits.idle();
    if (!saving.unsaved) return;
    await saving.save();
    if (saving.state === 'saved') toast(`${this.id}: saved as version ${this.outlines.version}`);
  }

  close() {
    this.saving?.draft(); // takes the work now, before tools give up what is unfinished
    this.stop.abort();
    this.tools?.cancel();
    this.overview?.close();
    this.slideMap?.close();
  }
}
