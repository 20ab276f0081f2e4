// The versions of a slide: who saved what when; look at an old one, or make it the newest again.
import {explain, fetchJson, slidePath} from './api.js';
import {compareOutlines} from './conflict.js';
import {ask, formatTime, h, toast} from './dom.js';
import {loadVersion} from './save.js';

const MADE_BY = {propose: 'proposed by the model', save: 'from a file'};

export class VersionsPanel {
  constructor({id, box, outlines, saving, signal, readOnly, refresh}) {
    Object.assign(this, {id, box, outlines, saving, signal, readOnly, refresh});
  }

  /** Load and show the list; return the number of the newest version. */
  async show() {
    const {newest, versions} = await fetchJson(slidePath(this.id, '/versions'), {signal: this.signal});
    if (this.signal.aborted) return 0;
    this.newest = newest;
    const rows = [...versions].sort((a, b) => b.version - a.version).map((one) => this.row(one));
    this.box.replaceChildren(
      rows.length
        ? h('ol', {className: 'versions'}, rows)
        : h('p', {className: 'quiet'}, 'No version yet. Every save becomes a version; none is ever overwritten.'),
      h('p', {}, h('a', {href: slidePath(this.id, '/outlines.geojson'), download: ''}, 'Download for QuPath (GeoJSON)')),
    );
    return newest;
  }

  row(one) {
    const shown = one.version === this.outlines.version;
    const tags = [
      one.accepted && h('span', {className: 'tag good'}, 'accepted'),
      one.blind && h('span', {className: 'tag'}, 'blind'),
      shown && h('span', {className: 'tag'}, 'shown'),
    ].filter(Boolean);
    const count = `${one.outlines} outline${one.outlines === 1 ? '' : 's'}`;
    const from = one.restored_from ? ` · version ${one.restored_from} again` : '';
    const words = this.readOnly ? 'Look' : 'Look, restore';
    const button = one.version !== this.newest && !one.blind
      ? h('button', {onclick: () => this.look(one)}, words)
      : null;
    return h('li', {className: shown ? 'shown' : ''},
      h('div', {className: 'head'}, h('strong', {}, `Version ${one.version}`), ...tags),
      h('div', {className: 'quiet'}, whoAndWhen(one)),
      h('div', {className: 'foot'}, h('span', {}, count + from), button));
  }

  /** Show a version beside what is on the pane, and restore it if a person says so. */
  async look(one) {
    const {version: number} = one;
    let features;
    try {
      ({features} = await loadVersion(this.id, number, this.signal));
    } catch (error) {
      if (!this.signal.aborted) toast(`Version ${number} cannot be shown: ${explain(error)}`, 'error');
      return;
    }
    const {unsaved} = this.saving;
    const here = this.outlines.version ? `version ${this.outlines.version}` : 'no version yet';
    const answer = await ask({
      title: `Version ${number}`,
      wide: true,
      content: [
        compareOutlines(
          {title: `Version ${number}`, text: whoAndWhen(one), features},
          {title: 'Shown now', text: unsaved ? 'with unsaved changes' : here, features: this.outlines.features},
        ),
        this.readOnly ? null : h('p', {}, `To restore writes it again as the newest version. ${unsaved ? 'Your unsaved work becomes a version first.' : 'All others stay.'}`),
      ].filter(Boolean),
      answers: this.readOnly ? [['', 'Close', 'main']] : [
        ['', 'Close'], ['restore', `${unsaved ? 'Save mine, then restore' : 'Restore'} version ${number}`, 'main'],
      ],
    });
    if (answer === 'restore') await this.restore(number);
  }

  async restore(number) {
    if (this.saving.unsaved) await this.saving.save();
    if (this.saving.unsaved) return;
    try {
      const made = await this.saving.restore(number, `Restore version ${number}`);
      toast(`Version ${number} is the newest again, as version ${made}`);
    } catch (error) {
      if (error.status !== 409) return void toast(`Not restored: ${explain(error)}`, 'error');
      toast('Not restored, because the slide was saved meanwhile. Look at the newest version first');
      await this.refresh().catch(() => {}); // the page refreshes again when it is looked at
    }
  }
}

const whoAndWhen = ({made, annotator, made_by: by}) =>
  `${formatTime(made)} · ${annotator || MADE_BY[by] || ''}`;
