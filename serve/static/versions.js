// The versions of a slide: who saved what when; look at an old one, or make it the newest again.
import {fetchJson, slidePath} from './api.js';
import {ask, formatTime, h, icon, toast} from './dom.js';

const MADE_BY = {propose: 'proposed by the model', save: 'from a file'};

export class VersionsPanel {
  constructor({id, box, outlines, saving, signal, readOnly}) {
    Object.assign(this, {id, box, outlines, saving, signal, readOnly});
  }

  async show() {
    const {newest, versions} = await fetchJson(slidePath(this.id, '/versions'), {signal: this.signal});
    if (this.signal.aborted) return;
    this.newest = newest;
    const rows = [...versions].sort((a, b) => b.version - a.version).map((one) => this.row(one));
    this.box.replaceChildren(
      rows.length
        ? h('ol', {className: 'versions'}, rows)
        : h('p', {className: 'quiet'}, 'No version yet. Every save becomes a version; none is ever overwritten.'),
      h('p', {}, h('a', {href: slidePath(this.id, '/outlines.geojson'), download: ''}, 'Download for QuPath (GeoJSON)')),
    );
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
    const button = !this.readOnly && one.version !== this.newest && !one.blind
      ? h('button', {onclick: () => this.restore(one.version)}, icon('undo'), 'Restore')
      : null;
    return h('li', {className: shown ? 'shown' : ''},
      h('div', {className: 'head'}, h('strong', {}, `Version ${one.version}`), ...tags),
      h('div', {className: 'quiet'}, `${formatTime(one.made)} · ${one.annotator || MADE_BY[one.made_by] || ''}`),
      h('div', {className: 'foot'}, h('span', {}, count + from), button));
  }

  async restore(number) {
    if (this.saving.unsaved) {
      const answer = await ask({
        title: `Restore version ${number}?`,
        content: [h('p', {}, 'There is unsaved work on this slide. Save it first, and it stays a version.')],
        answers: [['', 'Cancel'], ['save', 'Save, then restore', 'main']],
      });
      if (answer !== 'save') return;
      await this.saving.save();
      if (this.saving.unsaved) return;
    }
    try {
      const made = await this.saving.restore(number, `Restore version ${number}`);
      toast(`Version ${number} is the newest again, as version ${made}`);
    } catch (error) {
      toast(`Not restored: ${error.message}`, 'error');
    }
  }
}
