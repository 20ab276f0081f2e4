// Classes and their colours: those of the folder, those found in the outlines, and a person's own.
import {groupOf} from './outlines.js';

const FURTHER = [[0, 120, 200], [150, 70, 160], [200, 120, 0], [0, 130, 130], [120, 120, 30]];

/** Fires `change`. `active` is the class of the next outline. */
export class Classes extends EventTarget {
  constructor(stated) {
    super();
    this.list = stated.map(({name, colour}) => ({name, colour}));
    if (!this.list.length) this.list.push({name: 'Tumor', colour: [200, 0, 0]});
    for (const own of this.stored()) {
      const known = this.list.find(({name}) => name === own.name);
      if (known) known.colour = own.colour;
      else this.list.push(own);
    }
    this.active = this.list[0].name;
  }

  stored() {
    try {
      const found = JSON.parse(localStorage.getItem('classes') ?? '[]');
      return found.filter(({name, colour}) => name && Array.isArray(colour) && colour.length === 3);
    } catch {
      return [];
    }
  }

  colourOf(name) {
    const plain = name.toLowerCase();
    return this.list.find((one) => one.name.toLowerCase() === plain)?.colour ?? FURTHER[0];
  }

  /** Add the classes of outlines that are not in the list yet. */
  learn(features) {
    let found = false;
    for (const feature of features) {
      const name = groupOf(feature);
      if (!name || this.list.some((one) => one.name.toLowerCase() === name.toLowerCase())) continue;
      const stated = feature.properties.classification?.color;
      this.list.push({name, colour: stated ?? FURTHER[this.list.length % FURTHER.length]});
      found = true;
    }
    if (found) this.changed();
  }

  add(name) {
    const text = name.trim().slice(0, 100);
    if (!text) return;
    if (!this.list.some((one) => one.name === text)) {
      this.list.push({name: text, colour: FURTHER[this.list.length % FURTHER.length]});
    }
    this.active = text;
    this.changed(true);
  }

  recolour(name, colour) {
    this.list.find((one) => one.name === name).colour = colour;
    this.changed(true);
  }

  remove(name) {
    this.list = this.list.filter((one) => one.name !== name);
    if (!this.list.length) this.list.push({name: 'Tumor', colour: [200, 0, 0]});
    if (this.active === name) this.active = this.list[0].name;
    this.changed(true);
  }

  choose(name) {
    this.active = name;
    this.changed();
  }

  changed(store = false) {
    if (store) localStorage.setItem('classes', JSON.stringify(this.list));
    this.dispatchEvent(new Event('change'));
  }
}
