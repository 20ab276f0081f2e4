// The list of slides: cards with picture, label, split, score and state; sorted and filtered.
import {colourOf} from './heatmap.js';
import {byId, h, rgb} from './dom.js';
import {slidePath} from './api.js';

export const STATES = {
  none: 'to do', proposed: 'proposed', saved: 'in progress', accepted: 'accepted',
};
/** Ways to annotate a slide, as chance dealt them: words, and what they mean. */
export const MODES = {
  scratch: ['From scratch', 'Chance chose this slide to be drawn without the model’s proposal, so that minutes can be compared fairly. It is shown once the slide is accepted.'],
  corrected: ['Correct the proposal', 'The model’s outlines are shown; correct what is wrong, then accept.'],
  blind: ['Blind', 'Another person has drawn this slide; draw it too, without sight of other outlines, to measure agreement.'],
};
const SORTS = {
  cohort: ['as in the cohort', () => 0],
  id: ['by name', (a, b) => a.id.localeCompare(b.id, 'en', {numeric: true})],
  score: ['by score, highest first', (a, b) => (b.score ?? -1) - (a.score ?? -1)],
  label: ['by label', (a, b) => a.label.localeCompare(b.label)],
  state: ['by state', (a, b) => Object.keys(STATES).indexOf(a.state) - Object.keys(STATES).indexOf(b.state)],
};
const KEPT = 'slide list';

export class SlideList {
  constructor() {
    this.slides = [];
    this.choice = {text: '', label: '', split: '', state: '', sort: 'cohort', ...this.stored()};
    byId('list-sort').replaceChildren(...Object.entries(SORTS).map(([value, [text]]) =>
      h('option', {value}, text)));
    byId('list-state').replaceChildren(h('option', {value: ''}, 'any state'),
      ...Object.entries(STATES).map(([value, text]) => h('option', {value}, text)));
    for (const name of Object.keys(this.choice)) {
      byId(`list-${name}`).addEventListener('input', (event) => {
        this.choice[name] = event.target.value;
        sessionStorage.setItem(KEPT, JSON.stringify(this.choice));
        this.show();
      });
    }
  }

  stored() {
    try {
      return JSON.parse(sessionStorage.getItem(KEPT) ?? '{}');
    } catch {
      return {};
    }
  }

  /** Slides that pass the filters, in order. */
  chosen() {
    const {text, label, split, state, sort} = this.choice;
    const wanted = text.trim().toLowerCase();
    return this.slides
      .filter((one) => (!wanted || `${one.id} ${one.patient ?? ''}`.toLowerCase().includes(wanted))
        && (!label || one.label === label) && (!split || one.split === split)
        && (!state || one.state === state))
      .sort((SORTS[sort] ?? SORTS.cohort)[1]);
  }

  neighbour(id, by) {
    const slides = this.chosen();
    const at = slides.findIndex((one) => one.id === id);
    return slides[(at + by + slides.length) % slides.length];
  }

  update({slides}) {
    this.slides = slides.map((one) => ({...one, label: one.label ?? '', split: one.split ?? ''}));
    for (const name of ['label', 'split']) {
      const values = [...new Set(this.slides.map((one) => one[name]).filter(Boolean))].sort();
      byId(`list-${name}`).replaceChildren(h('option', {value: ''}, `any ${name}`),
        ...values.map((value) => h('option', {value}, value)));
    }
    for (const [name, value] of Object.entries(this.choice)) byId(`list-${name}`).value = value;
    this.show();
  }

  show() {
    const chosen = this.chosen();
    const done = this.slides.filter(({state}) => state === 'accepted').length;
    const count = chosen.length === this.slides.length
      ? `${this.slides.length} slides` : `${chosen.length} of ${this.slides.length} slides`;
    byId('list-count').textContent = `${count} · ${done} accepted`;
    byId('cards').replaceChildren(...chosen.map((one) => this.card(one)),
      ...(chosen.length ? [] : [h('p', {className: 'quiet'}, 'No slide passes the filters.')]));
  }

  card(slide) {
    const {id, label, split, score, state, problem} = slide;
    const way = slide.blind ? 'blind' : 'scratch';
    const picture = problem
      ? h('div', {className: 'no-picture'}, problem)
      : h('img', {src: slidePath(id, '/thumbnail.jpg'), loading: 'lazy', alt: '', width: 220, height: 150});
    const bar = h('span', {className: 'score', title: 'Score of the slide: the highest tumour probability'});
    if (Number.isFinite(score)) {
      const fill = h('span', {className: 'fill'});
      fill.style.width = `${score * 100}%`;
      fill.style.background = rgb(colourOf(Math.max(score, 0.15)));
      bar.append(h('span', {className: 'track'}, fill), score.toFixed(2));
    } else bar.append(h('span', {className: 'quiet'}, slide.model_hidden ? 'score hidden' : 'no score'));
    return h('a', {className: 'card', href: `#/slide/${encodeURIComponent(id)}`, title: id},
      h('div', {className: 'picture'}, picture),
      h('div', {className: 'name'}, id),
      h('div', {className: 'facts'},
        h('span', {className: 'quiet'}, [label || 'no label', split].filter(Boolean).join(' · ')), bar),
      h('div', {className: 'states'}, h('span', {className: `state ${state}`}, STATES[state] ?? state),
        slide.model_hidden ? h('span', {className: 'tag', title: MODES[way][1]}, MODES[way][0]) : null,
        slide.versions ? h('span', {className: 'quiet'}, `${slide.versions} version${slide.versions === 1 ? '' : 's'}`) : null));
  }
}
