// A round brush: a stroke on the pane, its preview, and the circle that follows the pointer.
import {
  CircleStyle, Feature, Fill, LineString, MultiPoint, Point, Pointer, Stroke, Style,
} from './vendor/ol.js';
import {rgb} from './dom.js';
import {fromMap} from './map.js';

const [SMALLEST_PX, LARGEST_PX] = [3, 200]; // radius on the screen

/** Tell whether an event is of the first button or finger, or of a move, without keys. */
export const withoutKeys = ({originalEvent: event}) =>
  event.button < 1 && event.isPrimary !== false && !event.altKey && !event.ctrlKey && !event.metaKey && !event.shiftKey;

export class Brush {
  constructor(tools) {
    this.tools = tools;
    this.radius = 20; // screen px
    this.stroke = null; // Feature while the button is held
    this.cursor = new Feature(new Point([0, 0]));
  }

  get erases() {
    return this.tools.name === 'erase';
  }

  /** The stroke as wide as the brush. */
  styleOf(geometry) {
    const colour = this.erases ? 'rgba(255,255,255,.65)' : rgb(this.tools.colour, 0.45);
    const points = geometry.getCoordinates();
    if (points.length < 2) {
      return new Style({
        geometry: new MultiPoint(points),
        image: new CircleStyle({radius: this.radius, fill: new Fill({color: colour})}),
      });
    }
    return new Style({stroke: new Stroke({color: colour, width: 2 * this.radius})});
  }

  interaction(name) {
    const {tools} = this;
    let begun = null; // the outline under the first point
    return new Pointer({
      handleDownEvent: (event) => {
        if (!withoutKeys(event)) return false;
        const geometry = new LineString([event.coordinate]);
        this.stroke = new Feature(geometry);
        this.stroke.setStyle(this.styleOf(geometry));
        begun = tools.layer.at(event.pixel);
        tools.sketches.addFeature(this.stroke);
        return true;
      },
      handleDragEvent: (event) => {
        this.show(event.coordinate);
        if (!this.stroke) return;
        const geometry = this.stroke.getGeometry();
        geometry.appendCoordinate(event.coordinate);
        if (geometry.getCoordinates().length === 2) this.stroke.setStyle(this.styleOf(geometry));
      },
      handleMoveEvent: (event) => this.show(event.coordinate),
      handleUpEvent: () => {
        if (!this.stroke) return false;
        const geometry = this.stroke.getGeometry();
        this.abort();
        const sketch = tools.keepSketch(geometry, this.styleOf(geometry));
        const radius = this.radius * tools.slideMap.view.getResolution();
        const points = geometry.getCoordinates().map(fromMap);
        tools.paint(name, {kind: 'brush', points, radius}, sketch, begun);
        return false;
      },
    });
  }

  /** Give up the stroke under the pointer; tells whether there was one. */
  abort() {
    if (!this.stroke) return false;
    this.tools.sketches.removeFeature(this.stroke);
    this.stroke = null;
    return true;
  }

  show(coordinate) {
    const ring = (color, width) =>
      new Style({image: new CircleStyle({radius: this.radius, stroke: new Stroke({color, width})})});
    this.cursor.getGeometry().setCoordinates(coordinate);
    this.cursor.setStyle([ring('#fff', 3), ring(this.erases ? '#111' : rgb(this.tools.colour), 1.5)]);
    const {sketches} = this.tools;
    if (!sketches.hasFeature(this.cursor)) sketches.addFeature(this.cursor);
  }

  hide() {
    const {sketches} = this.tools;
    if (sketches.hasFeature(this.cursor)) sketches.removeFeature(this.cursor);
  }

  resize(factor) {
    this.radius = Math.min(LARGEST_PX, Math.max(SMALLEST_PX, Math.round(this.radius * factor)));
    if (this.tools.sketches.hasFeature(this.cursor)) this.show(this.cursor.getGeometry().getCoordinates());
  }
}
