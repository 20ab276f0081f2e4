// What a person does to outlines besides drawing: choose, delete, merge, class, undo.
import {ask, h, toast} from './dom.js';
import {boundsOf, groupOf, makeFeature, withGroup} from './outlines.js';

const SMOOTHING_PX = 1.5; // on the screen: corners nearer to the line than this go

export class OutlineCommands {
  constructor({slideMap, outlines, layer, edits, tools, classes, saving, geometry, session}) {
    Object.assign(this, {slideMap, outlines, layer, edits, tools, classes, saving, geometry});
    this.readOnly = session.read_only;
    this.select = (ids) => layer.select(ids);
  }

  /** The selected outlines; says what to do where there are none. */
  chosen() {
    const found = this.layer.selection();
    if (!found.length) toast('Select an outline first: press V and click it, or press . to go to the next one');
    return found;
  }

  walk(by) {
    const {features} = this.outlines;
    if (!features.length) return;
    const at = features.findIndex(({id}) => this.layer.selected.has(id));
    const to = features[at < 0 ? 0 : (at + by + features.length) % features.length];
    this.layer.select([to.id]);
    this.slideMap.showBox(boundsOf([to]), 2);
  }

  remove() {
    const found = this.chosen();
    if (!found.length) return;
    const gone = found.map(({id}) => id);
    this.outlines.replace(gone.length === 1 ? 'Delete' : `Delete ${gone.length} outlines`, gone, []);
  }

  merge() {
    const found = this.chosen();
    if (found.length === 1) toast('Select two outlines or more to merge: Shift and click');
    else if (found.length) this.edits.merge(found, this.select);
  }

  fill() {
    const found = this.chosen();
    if (found.length) this.edits.fill(found, this.select);
  }

  smooth() {
    const found = this.chosen();
    if (!found.length) return;
    this.edits.change('Smooth', 'simplify', {
      ids: found.map(({id}) => id), select: this.select, min_hole_px2: 0,
      tolerance_px: SMOOTHING_PX * this.slideMap.view.getResolution(),
    });
  }

  /** Give the selected outlines a class; without any it becomes that of the next outline. */
  assign(name) {
    this.classes.choose(name);
    const chosen = this.layer.selected;
    if (!chosen.size || this.readOnly) return;
    const colour = this.classes.colourOf(name);
    this.outlines.apply(`Class ${name}`, this.outlines.features.map((one) =>
      (chosen.has(one.id) && groupOf(one) !== name ? withGroup(one, name, colour) : one)));
    this.layer.select([...chosen]);
  }

  /** Remove a class; its outlines stay, without a class. An unfinished outline is given up. */
  async removeClass(name) {
    this.tools.cancel();
    const own = this.outlines.features.filter((feature) => groupOf(feature) === name);
    if (own.length && this.readOnly) return;
    if (own.length) {
      const answer = await ask({
        title: `Remove the class ${name}?`,
        content: [h('p', {}, `${own.length} outlines of this slide have it. They stay, without a class.`)],
        answers: [['', 'Cancel'], ['remove', 'Remove', 'danger']],
      });
      if (answer !== 'remove') return;
      const ids = new Set(own.map(({id}) => id));
      this.outlines.apply(`Remove class ${name}`, this.outlines.features.map((one) =>
        (ids.has(one.id) ? withGroup(one, '') : one)));
    }
    this.classes.remove(name);
    this.tools.use(this.tools.name);
  }

  /** Save as accepted. Without outlines that says that there is no tumour, so a person is asked. */
  async accept() {
    await this.edits.idle();
    const isEmpty = !this.outlines.features.length && !this.edits.waiting.length;
    return (!isEmpty || await this.confirmEmpty()) && this.saving.save({accepted: true});
  }

  async confirmEmpty() {
    const {label} = this.geometry;
    const answer = await ask({
      title: 'Accept this slide without outlines?',
      content: [
        h('p', {}, 'That says: somebody looked at the whole slide, and nothing has to be outlined. '
          + 'Training takes all of its tissue as normal.'),
        ...(label === 'tumor' ? [h('p', {}, 'But the cohort labels this slide as tumor.')] : []),
      ],
      answers: [['', 'Go back'], ['accept', 'Accept without outlines', 'main']],
    });
    return answer === 'accept';
  }

  /** Mark a square as looked at: a Region* rectangle, unless the whole slide was. */
  markRegion({x, y, width, height}, wholeSlide) {
    const regions = this.outlines.features.filter((one) => groupOf(one).toLowerCase() === 'region*');
    if (this.readOnly || (wholeSlide && !regions.length)) return;
    const ring = [[x, y], [x + width, y], [x + width, y + height], [x, y + height], [x, y]];
    const known = regions.some((one) => JSON.stringify(boundsOf([one])) === JSON.stringify([x, y, x + width, y + height]));
    if (known) return;
    this.outlines.add('Region looked at', makeFeature(
      {type: 'Polygon', coordinates: [ring]}, 'Region*', this.classes.colourOf('Region*')));
  }

  /** One step back: first the unfinished corner, then a waiting stroke, then the outlines. */
  undo() {
    if (this.tools.takeBack() || this.edits.dropLast()) return;
    const done = this.outlines.step(-1);
    if (!done) toast('Nothing to undo');
    else if (done.crossed) {
      toast(`You are back before version ${this.outlines.version}, which stays on disk. Save to make this the newest.`);
    }
  }

  redo() {
    if (!this.outlines.step(1)) toast('Nothing to redo');
  }
}
