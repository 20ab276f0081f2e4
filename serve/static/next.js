// Where to look next: squares of the cohort, each with its reason, one key away.
import {fetchJson} from './api.js';
import {h} from './dom.js';

const ORDERS = [
  ['doubt', 'where the model is unsure'],
  ['contradiction', 'where model and outlines differ'],
  ['random', 'at random'],
];
const COUNT = 20;

/** The list lives as long as the page, across slides. `open(region)` shows one; `settled(region,
 * outcome)` hears that a person is done with it: accepted or skipped. */
export class NextRegions {
  constructor(box, {open, settled}) {
    Object.assign(this, {box, open, settled});
    this.order = 'doubt';
    this.regions = [];
    this.done = new Map(); // index → accepted | skipped
    this.at = -1;
    this.problem = '';
    this.loaded = false;
    this.readOnly = false; // then a region is only gone to
    this.show();
  }

  async load() {
    this.problem = '';
    try {
      const asked = `api/next?order=${this.order}&count=${COUNT}`;
      this.regions = (await fetchJson(asked)).regions;
    } catch (error) {
      this.regions = [];
      this.problem = error.message;
    }
    this.loaded = true;
    this.done.clear();
    this.at = -1;
    this.show();
  }

  get current() {
    return this.regions[this.at];
  }

  async next() {
    if (!this.loaded) await this.load();
    const left = this.regions.findIndex((_, k) => k > this.at && !this.done.has(k));
    const to = left >= 0 ? left : this.regions.findIndex((_, k) => !this.done.has(k));
    if (to < 0) {
      this.problem ||= this.regions.length
        ? 'All regions of this list are done; load a new list.'
        : 'There is no such region: no slide has a heatmap, or somebody looked at all of them.';
      return this.show();
    }
    this.go(to);
  }

  go(to) {
    this.at = to;
    this.show();
    this.open(this.current);
  }

  /** Note the outcome of the region in view, and go on. */
  settle(outcome) {
    if (this.at < 0 || this.readOnly) return this.next();
    this.done.set(this.at, outcome);
    this.settled(this.current, outcome);
    return this.next();
  }

  show() {
    const choice = h('select', {
      'aria-label': 'Order',
      onchange: (event) => {
        this.order = event.target.value;
        this.load();
      },
    }, ORDERS.map(([value, text]) => h('option', {value, selected: value === this.order}, text)));
    const items = this.regions.map((region, k) => this.item(region, k));
    const buttons = this.at < 0 || this.readOnly
      ? [h('button', {className: 'main', onclick: () => this.next()}, 'Next region', h('kbd', {}, 'N'))]
      : [h('button', {
        className: 'main', onclick: () => this.settle('accepted'),
        title: 'The outlines in this square are right; go on to the next one',
      }, 'Looked at', h('kbd', {}, 'Y')),
        h('button', {onclick: () => this.settle('skipped')}, 'Skip', h('kbd', {}, 'K'))];
    this.box.replaceChildren(
      h('label', {className: 'row'}, choice),
      h('div', {className: 'row'}, ...buttons,
        h('button', {className: 'plain', onclick: () => this.load()}, 'New list')),
      this.problem ? h('p', {className: 'quiet'}, this.problem) : '',
      items.length || this.problem
        ? h('ol', {className: 'regions'}, items)
        : h('p', {className: 'quiet'},
          'The list names squares of 1 mm² where a look is worth most. Press N to go to the first one.'),
    );
    this.box.querySelector('[aria-current]')?.scrollIntoView({block: 'nearest'});
  }

  item({slide, reason}, k) {
    const outcome = this.done.get(k);
    return h('li', {},
      h('button', {
        className: `region ${outcome ?? ''}`, onclick: () => this.go(k),
        'aria-current': k === this.at ? 'true' : null,
      },
      h('strong', {}, `${k + 1}. ${slide}`),
      h('span', {}, reason),
      outcome ? h('span', {className: 'quiet'}, outcome === 'accepted' ? 'looked at' : 'skipped') : null));
  }
}
