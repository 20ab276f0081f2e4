// Changes of shapes that the server computes, one after the other. A step is plain JSON, so a draft
// can keep it. A step that the server cannot take now waits here, stays on the pane, and is sent
// again.
import {Unreachable, connection, explain, fetchJson} from './api.js';
import {toast} from './dom.js';
import {boundsOf, groupOf, makeFeature, polygonsOf} from './outlines.js';

const MOST_AT_ONCE = 200;
const AGAIN_MS = 4000;
const KINDS = {draw: 'doDraw', change: 'doChange', merge: 'doMerge', repair: 'doRepair'};

/** Tell whether a step may succeed later: no server, the session has ended, or a fault there. */
const mayComeLater = (error) =>
  error instanceof Unreachable || error.status === 401 || error.status >= 500;

const overlap = (one, other) =>
  one[0] <= other[2] && other[0] <= one[2] && one[1] <= other[3] && other[1] <= one[3];

function boundsOfStroke({points, radius = 0}) {
  const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
  const least = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);
  const most = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);
  return [least(xs) - radius, least(ys) - radius, most(xs) + radius, most(ys) + radius];
}

export class Edits {
  constructor(outlines, classes, signal) {
    Object.assign(this, {outlines, classes, signal});
    this.waiting = []; // {step, sketch, select}
    this.running = false;
    connection.addEventListener('change', () => connection.up && this.run(), {signal});
  }

  /** Queue one step; `sketch.remove()` is called when it is done or given up. */
  push(step, {sketch, select} = {}) {
    this.waiting.push({step, sketch, select});
    this.onchange?.();
    this.run();
  }

  /** The steps that are not done yet, as plain JSON. */
  get steps() {
    return this.waiting.map(({step}) => step);
  }

  /** Queue the steps of a draft again. */
  replay(steps) {
    for (const step of steps ?? []) this.push(step);
  }

  /** Give up the newest waiting step; false if there is none. */
  dropLast() {
    if (this.waiting.length < (this.running ? 2 : 1)) return false;
    this.waiting.pop().sketch?.remove();
    this.onchange?.();
    return true;
  }

  /** Send what waits; return when all is done, or the server cannot take the next step now. */
  async idle() {
    if (this.waiting.length) this.run();
    await this.work;
  }

  run() {
    if (this.running || this.signal.aborted) return;
    clearTimeout(this.timer);
    this.running = true;
    this.work = this.workOff();
  }

  async workOff() {
    while (this.waiting.length && !this.signal.aborted) {
      const [one] = this.waiting;
      try {
        await this[KINDS[one.step.kind]](one.step, one.select ?? (() => {}));
      } catch (error) {
        if (this.signal.aborted) break;
        if (mayComeLater(error)) {
          this.sendLater(error);
          break; // stays the first one
        }
        toast(`Not changed: ${error.message}`, 'error');
      }
      if (this.signal.aborted) break;
      this.waiting.shift();
      one.sketch?.remove();
      this.onchange?.();
    }
    this.running = false;
  }

  sendLater(error) {
    if (error instanceof Unreachable) return; // `connection` tells when it is back
    toast(`The stroke waits and is sent again; Ctrl Z gives it up. ${explain(error)}`, 'error');
    this.timer = setTimeout(() => this.run(), AGAIN_MS);
  }

  async ask(body) {
    const found = await fetchJson('api/edit', {method: 'POST', json: body, signal: this.signal});
    if (this.signal.aborted) throw new Error('the slide was left');
    for (const note of found.notes) toast(note);
    return found.outlines;
  }

  /** Draw a new outline of the active class from a stroke. */
  draw(label, stroke, sketch, select) {
    this.push({kind: 'draw', label, stroke, group: this.classes.active}, {sketch, select});
  }

  /** Change the outlines with these ids, or without ids all that lie under the stroke. */
  change(label, operation, {ids = null, stroke = null, sketch, select, ...more}) {
    this.push({kind: 'change', label, operation, ids, stroke, more}, {sketch, select});
  }

  /** Make one outline of several. */
  merge(chosen, select) {
    this.push({kind: 'merge', label: 'Merge', ids: chosen.map(({id}) => id)}, {select});
  }

  /** Fill every hole of the chosen outlines. */
  fill(chosen, select) {
    for (const outline of chosen) {
      const [x0, y0, x1, y1] = boundsOf([outline]);
      const points = [[x0, y0], [x1, y0], [x1, y1], [x0, y1]];
      this.change('Fill holes', 'fill', {
        ids: [outline.id], stroke: {kind: 'polygon', points}, select,
      });
    }
  }

  /** Take a shape as it is on the pane, and let the server repair it where it crosses itself. */
  reshape(id, geometry) {
    this.outlines.update('Move corners', id, (feature) => ({...feature, geometry}));
    this.push({kind: 'repair', label: 'Repair', ids: [id]});
  }

  /** Without a server, a polygon is taken as it was drawn. */
  async doDraw({label, stroke, group}, select) {
    let made;
    try {
      made = await this.ask({operation: 'add', outline: null, stroke, group});
    } catch (error) {
      if (!(error instanceof Unreachable) || stroke.kind !== 'polygon') throw error;
      const ring = [...stroke.points, stroke.points[0]];
      made = [makeFeature({type: 'Polygon', coordinates: [ring]}, group)];
    }
    if (!made.length) throw new Error('the stroke encloses no area; draw a larger one');
    made = made.map((feature) => ({...feature, properties: {
      ...feature.properties,
      classification: {name: group, color: this.classes.colourOf(group)},
    }}));
    this.outlines.add(label, ...made);
    select(made.map(({id}) => id));
  }

  /** Change the outlines with these ids; a cut that meets none of them, or without ids, changes all
   * that lie under the stroke. */
  async doChange({label, operation, ids, stroke, more}, select) {
    const {features} = this.outlines;
    const bounds = stroke && boundsOfStroke(stroke);
    const under = bounds ? features.filter((one) => overlap(boundsOf([one]), bounds)) : [];
    const chosen = ids ? features.filter(({id}) => ids.includes(id)) : under;
    let [gone, made] = await this.changeAll(chosen, operation, stroke, more);
    if (!gone.length && ids && ['cut', 'split'].includes(operation)) {
      [gone, made] = await this.changeAll(under, operation, stroke, more);
    }
    if (!gone.length) return toast(`${label}: nothing to change there`);
    this.outlines.replace(label, gone, made);
    select(made.map(({id}) => id));
  }

  /** Return the ids of the outlines that a stroke changes, and what becomes of them. */
  async changeAll(meant, operation, stroke, more) {
    if (meant.length > MOST_AT_ONCE) {
      throw new Error(`${meant.length} outlines lie under it; select those to change`);
    }
    const [gone, made] = [[], []];
    for (const outline of meant) {
      const found = await this.ask({operation, outline, stroke, group: groupOf(outline), ...more});
      if (found.length === 1 && sameShape(found[0], outline)) continue;
      gone.push(outline.id);
      made.push(...found);
    }
    return [gone, made];
  }

  async doMerge({label, ids}, select) {
    const outlines = this.outlines.features.filter(({id}) => ids.includes(id));
    if (outlines.length < 2) throw new Error('fewer than two of the outlines to merge are left');
    const made = await this.ask({operation: 'merge', outline: null, outlines, stroke: null});
    this.outlines.replace(label, ids, made);
    select(made.map(({id}) => id));
  }

  async doRepair({label, ids: [id]}) {
    const mine = this.outlines.find(id);
    if (!mine) return;
    const made = await this.ask({
      operation: 'simplify', outline: mine, stroke: null, tolerance_px: 0, min_hole_px2: 0,
    });
    if (this.outlines.find(id) !== mine || (made.length === 1 && sameShape(made[0], mine))) return;
    this.outlines.replace(label, [id], made);
  }
}

function sameShape(one, other) {
  const [a, b] = [polygonsOf(one), polygonsOf(other)];
  return JSON.stringify(a) === JSON.stringify(b);
}
