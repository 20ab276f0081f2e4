// The outlines of one slide as a sequence of states: a state is a frozen list of GeoJSON features
// in level-0 px (x, y down), so undo is a step back and a save is one state.
import {newId} from './kept_work.js';

const MOST_STEPS = 200;
const OTHER_COLOUR = [0, 120, 200];

/** Fires `change` after every new state. */
export class Outlines extends EventTarget {
  constructor() {
    super();
    this.reset([], 0);
  }

  /** Start again from a saved version. */
  reset(features, version) {
    this.version = version;
    this.steps = [{features: Object.freeze([...features]), label: '', version}];
    this.at = 0;
    this.base = this.features; // as saved: what a conflict is judged by
    this.changed();
  }

  get features() {
    return this.steps[this.at].features;
  }

  get dirty() {
    return this.features !== this.base;
  }

  find(id) {
    return this.features.find((feature) => feature.id === id);
  }

  /** A new state; the label tells in words what was done. */
  apply(label, features) {
    this.steps.splice(this.at + 1);
    this.steps.push({features: Object.freeze([...features]), label, version: this.version});
    if (this.steps.length > MOST_STEPS) this.steps.shift();
    this.at = this.steps.length - 1;
    this.changed();
  }

  add(label, ...made) {
    this.apply(label, [...this.features, ...made]);
  }

  /** Put `made` in the place of the outlines with these ids. */
  replace(label, ids, made) {
    const gone = new Set(ids);
    const kept = this.features.filter((feature) => !gone.has(feature.id));
    this.apply(label, [...kept, ...made]);
  }

  update(label, id, change) {
    this.apply(label, this.features.map((one) => (one.id === id ? change(one) : one)));
  }

  get canUndo() {
    return this.at > 0;
  }

  get canRedo() {
    return this.at < this.steps.length - 1;
  }

  /** Words of the step that undo takes back, and of the one that redo does again. */
  get labels() {
    return {undo: this.steps[this.at].label, redo: this.steps[this.at + 1]?.label ?? ''};
  }

  /** Step back (-1) or forth (+1); returns the label of what was undone or done again. */
  step(by) {
    const to = this.at + by;
    if (to < 0 || to >= this.steps.length) return null;
    const {label, version} = this.steps[Math.max(this.at, to)];
    this.at = to;
    this.changed();
    return {label, crossed: by < 0 && version !== this.steps[to].version};
  }

  /** The server has `features` as this version. `stored`: as it wrote them, repaired. */
  saved(features, version, stored) {
    this.version = version;
    const at = this.steps.findLastIndex((step) => step.features === features);
    if (at >= 0) this.steps[at] = {...this.steps[at], features: Object.freeze([...stored]), version};
    for (const step of this.steps.slice(at + 1)) step.version = version;
    this.base = at >= 0 ? this.steps[at].features : Object.freeze([...stored]);
    this.changed();
  }

  changed() {
    this.dispatchEvent(new Event('change'));
  }
}

/** A feature of one polygon or several; rings of [x, y]. */
export function makeFeature(geometry, group, colour) {
  return {
    type: 'Feature',
    id: newId(),
    geometry,
    properties: {
      objectType: 'annotation',
      name: '',
      ...(group ? {classification: {name: group, color: colour ?? OTHER_COLOUR}} : {}),
      metadata: {origin: 'drawn'},
    },
  };
}

export const groupOf = (feature) => {
  const stated = feature.properties?.classification;
  if (typeof stated === 'string') return stated;
  return stated?.names ? stated.names.join(': ') : (stated?.name ?? '');
};

export const originOf = (feature) => feature.properties?.metadata?.origin ?? 'drawn';

export function withGroup(feature, group, colour) {
  const {classification, ...properties} = feature.properties ?? {};
  const named = group ? {classification: {name: group, color: colour}} : {};
  return {...feature, properties: {...properties, ...named}};
}

/** Polygons of a feature: [[outer ring, hole, …], …]. */
export function polygonsOf({geometry}) {
  if (geometry?.type === 'Polygon') return [geometry.coordinates];
  if (geometry?.type === 'MultiPolygon') return geometry.coordinates;
  return [];
}

export function boundsOf(features) {
  const bounds = [Infinity, Infinity, -Infinity, -Infinity];
  for (const feature of features) {
    for (const [outer] of polygonsOf(feature)) {
      for (const [x, y] of outer) {
        bounds[0] = Math.min(bounds[0], x);
        bounds[1] = Math.min(bounds[1], y);
        bounds[2] = Math.max(bounds[2], x);
        bounds[3] = Math.max(bounds[3], y);
      }
    }
  }
  return bounds;
}

function ringArea(ring) {
  let twice = 0;
  for (let k = 0; k < ring.length; k++) {
    const [x0, y0] = ring[k];
    const [x1, y1] = ring[(k + 1) % ring.length];
    twice += x0 * y1 - x1 * y0;
  }
  return Math.abs(twice) / 2;
}

/** Area in px². */
export const areaOf = (feature) => polygonsOf(feature).reduce(
  (sum, [outer, ...holes]) =>
    sum + ringArea(outer) - holes.reduce((part, hole) => part + ringArea(hole), 0),
  0,
);

export const holesOf = (feature) =>
  polygonsOf(feature).reduce((count, rings) => count + rings.length - 1, 0);

const look = (feature) => JSON.stringify([feature.geometry, groupOf(feature)]);
const same = (one, other) => one === other || look(one) === look(other);

/** Tell whether a server that may have repaired shapes wrote these outlines: the same ids, classes
 * and, within 0.01 px and px², bounds and areas. */
export function sameOutlines(one, other) {
  if (one.length !== other.length) return false;
  const found = new Map(other.map((feature) => [feature.id, feature]));
  const near = (a, b) => a === b || Math.abs(a - b) < 0.01;
  return one.every((mine) => {
    const their = found.get(mine.id);
    if (!their || groupOf(mine) !== groupOf(their)) return false;
    const [a, b] = [boundsOf([mine]), boundsOf([their])];
    return a.every((edge, k) => near(edge, b[k])) && near(areaOf(mine), areaOf(their));
  });
}

/**
 * Put my changes since `base` on top of `theirs`. Where both changed one outline, both are kept.
 * Returns {features, doubled: outlines that both changed}.
 */
export function merge(base, mine, theirs) {
  const before = new Map(base.map((feature) => [feature.id, feature]));
  const own = new Map(mine.map((feature) => [feature.id, feature]));
  const features = [];
  let doubled = 0;
  for (const their of theirs) {
    const [old, my] = [before.get(their.id), own.get(their.id)];
    const theyChanged = !old || !same(old, their);
    if (my && old && !same(old, my)) { // I changed it
      features.push(theyChanged ? their : my);
      if (theyChanged && !same(their, my)) {
        doubled += 1;
        features.push({...my, id: newId()});
      }
    } else if (my || !old || theyChanged) features.push(their); // else I deleted it
  }
  const present = new Set(theirs.map((feature) => feature.id));
  for (const my of mine) {
    if (present.has(my.id)) continue;
    const old = before.get(my.id);
    if (!old || !same(old, my)) features.push(my); // new, or changed by me and deleted by them
  }
  return {features, doubled};
}
