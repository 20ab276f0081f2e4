// Tools that work on the pane. One tool is in use; to change it, or to press Escape, leaves
// nothing half-made.
import {
  CircleStyle, Collection, DragPan, Draw, Feature, Fill, Modify, Snap, Stroke, Style, VectorLayer,
  VectorSource, altKeyOnly, shiftKeyOnly,
} from './vendor/ol.js';
import {Brush, withoutKeys} from './brush.js';
import {rgb, toast} from './dom.js';
import {fromMap, toMap} from './map.js';
import {plainGeometry} from './outline_layer.js';

const SNAP_PX = 9;
export const TOOLS = {
  select: ['Select', 'Click an outline to select it; Shift adds to the selection'],
  polygon: ['Polygon', 'Click corner by corner; double-click or Enter closes the outline'],
  freehand: ['Freehand', 'Hold the button and draw around the region'],
  trace: ['Trace', 'Click an outline, run along it, click to leave it; double-click to close'],
  brush: ['Brush', 'Paint; a stroke that begins inside an outline extends it'],
  erase: ['Eraser', 'Rub out parts of outlines; only of the selected ones, where the stroke meets them'],
  corners: ['Corners', 'Drag a corner or an edge; Alt-click or Backspace removes a corner'],
  hole: ['Hole', 'Hold the button and draw around what is not part of the outline'],
  split: ['Split', 'Hold the button and draw a line across an outline'],
};
const DRAWN = {polygon: false, trace: false, freehand: true, hole: true}; // whether by a drag

export class Tools {
  constructor({slideMap, layer, outlines, classes, edits, readOnly}) {
    Object.assign(this, {slideMap, layer, outlines, classes, edits, readOnly});
    this.map = slideMap.map;
    this.name = 'select';
    this.snapping = true;
    this.held = [];
    this.sketch = null; // points of an unfinished polygon or stroke
    this.space = false;
    this.sketches = new VectorSource();
    this.map.addLayer(new VectorLayer({source: this.sketches, zIndex: 6, updateWhileInteracting: true}));
    this.brush = new Brush(this);
    this.above = new DragPan({
      condition: ({originalEvent: {button, isPrimary}}) => this.space || button === 1 || !isPrimary,
    });
    this.map.addInteraction(this.above);
    this.map.on('click', (event) => this.click(event));
    const pane = this.map.getViewport();
    pane.addEventListener('contextmenu', (event) => {
      event.preventDefault();
      if (event.pointerType !== 'touch') this.escape(); // a finger that rests is no right button
    });
    pane.addEventListener('pointerdown', ({isPrimary}) => isPrimary || this.dropStroke());
    pane.addEventListener('pointerleave', () => this.brush.hide());
  }

  get colour() {
    return this.classes.colourOf(this.classes.active);
  }

  use(name) {
    if (this.readOnly && name !== 'select') return;
    this.cancel();
    for (const one of this.held) this.map.removeInteraction(one);
    this.held = [];
    this.brush.hide();
    this.name = name;
    if (name in DRAWN) this.hold(this.drawing(name));
    else if (name === 'split') this.hold(this.splitting());
    else if (name === 'brush' || name === 'erase') this.hold(this.brush.interaction(name));
    else if (name === 'corners') this.modifyCorners();
    if (this.snapping && ['polygon', 'trace', 'corners'].includes(name)) {
      this.hold(new Snap({source: this.layer.source, pixelTolerance: SNAP_PX}));
    }
    this.map.removeInteraction(this.above);
    this.map.addInteraction(this.above);
    this.map.getViewport().dataset.tool = name;
    this.map.getViewport().classList.remove('middle');
    this.onuse?.(name);
  }

  hold(interaction) {
    this.held.push(interaction);
    this.map.addInteraction(interaction);
  }

  get draw() {
    return this.held.find((one) => one instanceof Draw);
  }

  click({pixel, originalEvent}) {
    if (this.name !== 'select' && this.name !== 'corners') return;
    if (originalEvent.altKey) return; // removes a corner
    const hit = this.layer.at(pixel);
    if (hit) this.layer.select([hit.id], originalEvent.shiftKey);
    else if (!originalEvent.shiftKey && this.name === 'select') this.layer.select([]);
  }

  /** The selection changed: corners are those of the one selected outline. */
  selectionChanged() {
    if (this.name === 'corners' && this.editing !== [...this.layer.selected].join()) {
      this.use('corners');
    }
  }

  sketchStyle() {
    const line = new Stroke({color: rgb(this.colour), width: 2.5});
    const corner = new CircleStyle({
      radius: 4, fill: new Fill({color: '#fff'}), stroke: new Stroke({color: rgb(this.colour), width: 2}),
    });
    return [new Style({stroke: line, fill: new Fill({color: rgb(this.colour, 0.12)}), image: corner})];
  }

  follow(draw) {
    draw.on('drawstart', ({feature}) => {
      const geometry = feature.getGeometry();
      geometry.on('change', () => {
        const found = geometry.getCoordinates();
        const corners = geometry.getType() === 'Polygon' ? found[0].slice(0, -1) : found;
        this.sketch = corners.slice(0, -1).map(fromMap); // without the pointer's place
        this.onsketch?.();
      });
    });
    const end = () => { this.sketch = null; };
    draw.on('drawend', end);
    draw.on('drawabort', end);
    return draw;
  }

  drawing(name) {
    const draw = new Draw({
      type: 'Polygon', condition: withoutKeys, style: this.sketchStyle(),
      freehandCondition: DRAWN[name] ? withoutKeys : shiftKeyOnly,
      snapTolerance: 10, stopClick: true,
      trace: name === 'trace', traceSource: this.layer.source,
    });
    draw.on('drawend', ({feature}) => {
      const [ring] = plainGeometry(feature.getGeometry()).coordinates;
      const points = ring.slice(0, -1);
      if (points.length < 3) return toast('An outline needs three corners; nothing was drawn');
      const stroke = {kind: 'polygon', points};
      const select = (ids) => this.layer.select(ids);
      const sketch = this.keepSketch(feature.getGeometry());
      if (name === 'hole') this.cut('Hole', stroke, sketch, points[0]);
      else this.edits.draw(TOOLS[name][0], stroke, sketch, select);
    });
    return this.follow(draw);
  }

  splitting() {
    const draw = new Draw({
      type: 'LineString', condition: withoutKeys, freehandCondition: withoutKeys, style: this.sketchStyle(),
      stopClick: true,
    });
    draw.on('drawend', ({feature}) => {
      const points = feature.getGeometry().getCoordinates().map(fromMap);
      this.edits.change('Split', 'split', {
        ids: this.targets(), stroke: {kind: 'line', points},
        sketch: this.keepSketch(feature.getGeometry()), select: (ids) => this.layer.select(ids),
      });
    });
    return this.follow(draw);
  }

  /** Ids of the selected outlines; null, which means all under the stroke, if there are none. */
  targets() {
    return this.layer.selected.size ? [...this.layer.selected] : null;
  }

  cut(label, stroke, sketch) {
    this.edits.change(label, 'cut', {
      ids: this.targets(), stroke, sketch,
      select: (ids) => this.layer.select(this.layer.selected.size ? ids : []),
    });
  }

  /** A stroke stays on the pane until its change is made. */
  keepSketch(geometry, style = this.sketchStyle()) {
    const feature = new Feature(geometry);
    feature.setStyle(style);
    this.sketches.addFeature(feature);
    return {remove: () => this.sketches.removeFeature(feature)};
  }

  paint(name, stroke, sketch, begun) {
    const select = (ids) => this.layer.select(ids);
    if (name === 'erase') this.cut('Erase', stroke, sketch);
    else if (begun) this.edits.change('Brush', 'add', {ids: [begun.id], stroke, sketch, select});
    else this.edits.draw('Brush', stroke, sketch, select);
  }

  modifyCorners() {
    this.editing = [...this.layer.selected].join();
    const features = [...this.layer.selected].map((id) => this.layer.shown.get(id)?.feature);
    const modify = new Modify({
      features: new Collection(features.filter(Boolean)), pixelTolerance: 10,
      deleteCondition: altKeyOnly, style: this.sketchStyle(),
    });
    modify.on('modifyend', ({features: changed}) => {
      for (const feature of changed.getArray()) {
        const geometry = plainGeometry(feature.getGeometry());
        const old = feature.get('plain');
        if (JSON.stringify(geometry) !== JSON.stringify(old.geometry)) {
          this.edits.reshape(feature.getId(), geometry);
        }
      }
      setTimeout(() => this.use('corners'));
    });
    this.modify = modify;
    this.hold(modify);
  }

  /** A second finger moves and zooms the slide: what the first one began is no stroke. */
  dropStroke() {
    this.brush.abort();
    if (DRAWN[this.name] || this.name === 'split') this.draw?.abortDrawing();
  }

  /** While Space is held a drag moves the slide, whatever the tool. */
  holdSpace(held) {
    this.space = held;
    this.map.getViewport().classList.toggle('space', held);
  }

  /** Take back the last corner of an unfinished polygon; false if nothing is being drawn. */
  takeBack() {
    if (this.sketch && this.draw && !DRAWN[this.name]) {
      this.draw.removeLastPoint();
      return true;
    }
    return this.cancel();
  }

  /** Set a corner of a polygon in the middle of the view: for those who use no mouse. */
  setCorner() {
    if (this.name !== 'polygon') this.use('polygon');
    if (this.name !== 'polygon') return;
    this.slideMap.target.focus(); // so that Enter closes the outline, and presses no button
    this.map.getViewport().classList.add('middle');
    this.draw.appendCoordinates([this.map.getView().getCenter()]);
  }

  finish() {
    if (this.sketch?.length > 2 && this.draw) this.draw.finishDrawing();
  }

  /** Go on with a polygon, hole or line that a draft kept. */
  resume(points, tool) {
    this.use(tool in DRAWN || tool === 'split' ? tool : 'polygon');
    this.draw.appendCoordinates(points.map(toMap));
  }

  /** Leave nothing half-made; tells whether something was. */
  cancel() {
    const begun = this.brush.abort() || this.sketch !== null;
    this.draw?.abortDrawing();
    this.sketch = null;
    if (begun) this.onsketch?.();
    return begun;
  }

  /** Escape and right click: the unfinished outline goes first, then the selection, then the tool. */
  escape() {
    if (this.cancel() || this.edits.dropLast()) return;
    if (this.layer.selected.size) this.layer.select([]);
    else this.use('select');
  }
}
