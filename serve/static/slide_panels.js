// What stands around the pane of the open slide: sliders, classes, the selection, scale bar,
// magnification, and the state of the save.
import {colourOf} from './heatmap.js';
import {byId, formatArea, fromHex, h, icon, rgb, toHex} from './dom.js';
import {MODES} from './list.js';
import {MAGNIFICATIONS, scaleBar} from './map.js';
import {areaOf, groupOf, holesOf, originOf} from './outlines.js';
import {VersionsPanel} from './versions.js';
import {connection} from './api.js';

const ORIGINS = {
  drawn: 'drawn', proposed: 'proposed by the model', corrected: 'proposed, then corrected',
  accepted: 'proposed and accepted',
};
const MAKES_OUTLINES = ['polygon', 'freehand', 'trace', 'brush'];

export class SlidePanels {
  constructor(slide) {
    Object.assign(this, slide);
    this.slide = slide;
    this.readOnly = slide.session.read_only;
    const {signal} = slide;
    this.versions = new VersionsPanel({
      id: slide.id, box: byId('versions'), outlines: slide.outlines, saving: slide.saving, signal,
      readOnly: this.readOnly, refresh: () => slide.refresh(),
    });
    slide.slideMap.onMove((place) => this.moved(place));
    slide.outlines.addEventListener('change', () => this.outlinesChanged());
    slide.classes.addEventListener('change', () => this.classesChanged(), {signal});
    slide.layer.onselect = () => {
      this.showSelection();
      slide.tools.selectionChanged();
    };
    slide.layer.onhidden = (count) => this.showHidden(count);
    slide.saving.addEventListener('change', () => this.showState());
    connection.addEventListener('change', () => this.showState(), {signal});
    this.bindSliders(signal);
    this.makeMagnifications();
    this.showMode();
    this.classesChanged();
    this.outlinesChanged();
    this.versions.show().catch(() => {});
  }

  bindSliders(signal) {
    const on = (id, name, work) => byId(id).addEventListener(name, work, {signal});
    const {heatmap, layer} = this.slide;
    const show = () => {
      heatmap.layer.setVisible(byId('heatmap-on').checked && heatmap.found !== null);
      heatmap.layer.setOpacity(byId('opacity').valueAsNumber / 100);
      byId('opacity-value').textContent = `${byId('opacity').value} %`;
      heatmap.detections.setVisible(byId('detections-on').checked);
      layer.setVisible(byId('outlines-on').checked);
    };
    for (const id of ['heatmap-on', 'detections-on', 'outlines-on']) on(id, 'change', show);
    on('opacity', 'input', show);
    on('threshold', 'input', () => {
      byId('threshold').dataset.chosen = 'yes'; // by a person: kept on the next slide
      byId('threshold-value').textContent = (byId('threshold').valueAsNumber / 100).toFixed(2);
      heatmap.setThreshold(byId('threshold').valueAsNumber / 100);
    });
    this.showLayers = show;
    show();
  }

  showHeatmap(about, hidden) {
    const usable = Boolean(about?.fits);
    byId('heatmap-controls').hidden = !usable;
    let words = '';
    if (hidden) words = 'The model’s results are hidden on this slide.';
    else if (!about) words = 'No heatmap of this slide.';
    else if (!about.fits) words = 'The heatmap was made on a slide of another size and is not shown.';
    byId('heatmap-words').textContent = words;
    if (!usable) return;
    if (byId('threshold').dataset.chosen) {
      this.slide.heatmap.setThreshold(byId('threshold').valueAsNumber / 100);
    } else byId('threshold').value = Math.round(about.threshold * 100);
    byId('threshold-value').textContent = (byId('threshold').valueAsNumber / 100).toFixed(2);
    const {unreadable = 0, failed = 0} = about.counts ?? {};
    const bad = unreadable + failed;
    byId('heatmap-note').textContent = `Score ${Number(about.score).toFixed(2)}${about.model ? ` · model ${about.model.slice(0, 8)}` : ''}`
      + (bad ? ` · ${bad} cell${bad === 1 ? '' : 's'} could not be read (hatched)` : '');
    const ramp = Array.from({length: 5}, (_, k) => rgb(colourOf(k / 4)));
    byId('ramp').style.background = `linear-gradient(to right, ${ramp.join(', ')})`;
    this.showLayers();
  }

  makeMagnifications() {
    const known = Boolean(this.slide.geometry.mpp);
    byId('magnifications').replaceChildren(...MAGNIFICATIONS.map((value, k) => h('button', {
      onclick: () => this.slide.slideMap.magnify(value), disabled: !known,
      title: known ? `Key ${k + 1}` : 'µm/px of this slide is unknown',
    }, `${value}×`)));
  }

  moved(place) {
    const {slideMap, geometry} = this.slide;
    const {width, text} = scaleBar(place.resolution, geometry.mpp);
    byId('scale-line').style.width = `${width}px`;
    byId('scale-text').textContent = text;
    const magnification = slideMap.magnification();
    byId('magnification').textContent = magnification
      ? `${magnification < 10 ? magnification.toFixed(1) : Math.round(magnification)}×` : 'µm/px unknown';
    [...byId('magnifications').children].forEach((button, k) => {
      const near = Math.abs(Math.log2((magnification ?? 0.001) / MAGNIFICATIONS[k])) < 0.03;
      button.setAttribute('aria-pressed', String(near));
    });
    byId('north').hidden = place.degrees === 0;
    byId('north').firstElementChild.style.transform = `rotate(${place.degrees}deg)`;
    this.slide.overview.show();
    this.onplace?.(place);
  }

  showMode() {
    const {geometry, saving, outlines} = this.slide;
    const mode = saving.facts.blind ? 'blind' : geometry.mode;
    const over = mode === 'scratch' && !geometry.model_hidden; // a person accepted it
    const [text, title] = MODES[mode] ?? ['', ''];
    const nothing = mode === 'corrected' && outlines.features.every((one) => originOf(one) === 'drawn');
    Object.assign(byId('mode'), {textContent: text, title, hidden: !text || nothing || over || this.readOnly});
  }

  outlinesChanged() {
    const {outlines} = this.slide;
    byId('undo').disabled = !outlines.canUndo;
    byId('redo').disabled = !outlines.canRedo;
    const {undo, redo} = outlines.labels;
    byId('undo').title = outlines.canUndo ? `Undo: ${undo} (Ctrl Z)` : 'Nothing to undo';
    byId('redo').title = outlines.canRedo ? `Redo: ${redo} (Ctrl Y)` : 'Nothing to redo';
    this.countClasses();
    this.showSelection();
    this.showState();
    this.showMode();
  }

  showHidden(count) {
    const box = byId('too-small');
    box.hidden = !count;
    box.textContent = `${count.toLocaleString('en')} outline${count === 1 ? ' is' : 's are'} too small to draw here; zoom in`;
  }

  showState() {
    const {saving, outlines, stage} = this.slide;
    const words = {
      saved: describeVersion(outlines.version, saving.about),
      unsaved: ['Unsaved changes', 'warm'],
      saving: ['Saving …', 'warm'],
      waiting: ['Not saved: waiting for the server', 'bad'],
      refused: ['Not saved', 'bad'],
    };
    let [text, kind] = words[saving.state];
    if (!connection.up) {
      [text, kind] = saving.unsaved || saving.state === 'waiting'
        ? ['Not saved: the server does not answer. Your work is kept here.', 'bad']
        : ['The server does not answer', 'bad'];
    } else if (stage === 'loading') [text, kind] = ['Loading the outlines …', ''];
    else if (stage === 'missing') [text, kind] = ['The outlines are not loaded', 'bad'];
    else if (saving.readOnly) [text, kind] = ['Read only', ''];
    Object.assign(byId('status'), {textContent: text, className: `status ${kind}`});
    byId('save').disabled = saving.readOnly || !saving.unsaved || saving.state === 'saving';
    byId('accept').disabled = saving.readOnly || saving.state === 'saving';
  }

  classesChanged() {
    const {classes, commands} = this.slide;
    byId('classes').replaceChildren(...classes.list.map(({name, colour}, k) => h('li', {},
      h('input', {
        type: 'color', value: toHex(colour), title: `Colour of ${name}`, 'aria-label': `Colour of ${name}`,
        disabled: this.readOnly, onchange: (event) => classes.recolour(name, fromHex(event.target.value)),
      }),
      h('button', {
        className: 'name', 'aria-pressed': String(name === classes.active), title: name,
        onclick: () => commands.assign(name),
      }, name),
      h('span', {className: 'count', id: `class-count-${k}`}),
      h('button', {
        className: 'plain', title: `Remove ${name}`, 'aria-label': `Remove ${name}`, hidden: this.readOnly,
        onclick: () => commands.removeClass(name),
      }, '×'))));
    this.slide.layer.refresh();
    this.countClasses();
    showClassOfNext(classes);
  }

  countClasses() {
    const counts = new Map();
    for (const feature of this.slide.outlines.features) {
      const name = groupOf(feature).toLowerCase();
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    this.slide.classes.list.forEach(({name}, k) => {
      const box = byId(`class-count-${k}`);
      if (box) box.textContent = counts.get(name.toLowerCase()) ?? '';
    });
  }

  showSelection() {
    const found = this.slide.layer.selection();
    const {mpp} = this.slide.geometry;
    const box = byId('selection');
    byId('selection-actions').hidden = !found.length || this.readOnly;
    if (!found.length) {
      const count = this.slide.outlines.features.length;
      box.replaceChildren(h('span', {className: 'quiet'},
        count ? `${count.toLocaleString('en')} outlines. Click one to select it.` : 'No outlines yet. Choose a tool and draw.'));
      return;
    }
    const area = formatArea(found.reduce((sum, one) => sum + areaOf(one), 0), mpp);
    if (found.length > 1) {
      box.replaceChildren(`${found.length} outlines selected · ${area}`);
      return;
    }
    const holes = holesOf(found[0]);
    box.replaceChildren(
      h('strong', {}, groupOf(found[0]) || 'No class'), ` · ${area}`,
      h('br'), h('span', {className: 'quiet'}, ORIGINS[originOf(found[0])] ?? 'drawn',
        holes ? ` · ${holes} hole${holes === 1 ? '' : 's'}` : ''));
  }
}

/** Words and kind of the status where all is saved. A version that is held back has no date. */
function describeVersion(version, {made, accepted}) {
  if (!version || !made) return ['No outlines saved yet', ''];
  return [`${accepted ? 'Accepted' : 'Saved'} · version ${version}`, 'good'];
}

/** The bar of tools; `use(name)` is called for a press. */
export function makeToolbar(tools, use, readOnly) {
  byId('tools').replaceChildren(...Object.entries(tools).map(([name, [text, help, key]]) => h('button', {
    id: `tool-${name}`, title: `${text} (${key}): ${help}`, 'aria-label': text, 'aria-pressed': 'false',
    hidden: readOnly && name !== 'select', onclick: () => use(name),
  }, icon(name), h('span', {className: 'word'}, text))));
}

export function showTool(tools, name) {
  for (const one of Object.keys(tools)) {
    byId(`tool-${one}`).setAttribute('aria-pressed', String(one === name));
  }
  byId('hint').hidden = name === 'select';
  byId('hint-words').textContent = name === 'select' ? '' : tools[name][1];
  byId('hint-class').hidden = !MAKES_OUTLINES.includes(name);
}

/** The class that the next outline gets, beside the words on the tool. */
function showClassOfNext(classes) {
  byId('hint-class').textContent = classes.active;
  byId('hint-class').style.color = rgb(classes.colourOf(classes.active));
}
