// Outlines on the pane: their look, which are selected, and a picture of those too small to draw.
import {
  Feature, Fill, ImageCanvas, ImageLayer, MultiPolygon, Stroke, Style, VectorLayer, VectorSource,
} from './vendor/ol.js';
import {rgb} from './dom.js';
import {fromMap, toMap} from './map.js';
import {boundsOf, groupOf, originOf, polygonsOf} from './outlines.js';

const SMALLEST_PX = 6; // on the screen
const HIT_PX = 5; // from an edge, on the screen
const MOST_DASHED = 1500; // dashes are slow to draw
const DASHES = {proposed: [10, 7], corrected: [14, 4, 3, 4]};

const flip = (polygons) => polygons.map((rings) => rings.map((ring) => ring.map(toMap)));

/** GeoJSON geometry in level-0 px of an OpenLayers Polygon or MultiPolygon. */
export function plainGeometry(geometry) {
  const unflip = (rings) => rings.map((ring) => ring.map((point) => {
    const [x, y] = fromMap(point);
    return [Math.round(x * 100) / 100, Math.round(y * 100) / 100];
  }));
  const coordinates = geometry.getCoordinates();
  if (geometry.getType() === 'Polygon') return {type: 'Polygon', coordinates: unflip(coordinates)};
  const polygons = coordinates.map(unflip);
  return polygons.length === 1
    ? {type: 'Polygon', coordinates: polygons[0]}
    : {type: 'MultiPolygon', coordinates: polygons};
}

export class OutlineLayer {
  constructor(slideMap, outlines, classes) {
    Object.assign(this, {slideMap, outlines, classes});
    this.selected = new Set();
    this.hiddenCount = 0;
    this.shown = new Map(); // id → {plain, feature}
    this.styles = new Map();
    this.source = new VectorSource();
    this.layer = new VectorLayer({
      source: this.source,
      style: (feature, resolution) => this.styleOf(feature, resolution),
      zIndex: 3,
      renderBuffer: 60,
    });
    this.small = new ImageCanvas({
      projection: slideMap.projection, ratio: 1, canvasFunction: (...args) => this.drawSmall(...args),
    });
    this.smallLayer = new ImageLayer({source: this.small, zIndex: 2});
    slideMap.map.addLayer(this.smallLayer);
    slideMap.map.addLayer(this.layer);
    outlines.addEventListener('change', () => this.sync());
  }

  /** Make the layer equal to the outlines; only those that differ are built again. */
  sync() {
    const wanted = new Set();
    const added = [];
    for (const plain of this.outlines.features) {
      wanted.add(plain.id);
      const known = this.shown.get(plain.id);
      if (known?.plain === plain) continue;
      if (known) this.source.removeFeature(known.feature);
      const feature = new Feature(new MultiPolygon(flip(polygonsOf(plain))));
      const [x0, y0, x1, y1] = boundsOf([plain]);
      feature.setId(plain.id);
      feature.set('plain', plain, true);
      feature.set('size', Math.max(x1 - x0, y1 - y0), true);
      this.shown.set(plain.id, {plain, feature});
      added.push(feature);
    }
    for (const [id, {feature}] of this.shown) {
      if (wanted.has(id)) continue;
      this.source.removeFeature(feature);
      this.shown.delete(id);
      this.selected.delete(id);
    }
    this.source.addFeatures(added);
    this.small.changed();
  }

  /** Draw all again in the colours of their classes. */
  refresh() {
    this.styles.clear();
    this.layer.changed();
    this.small.changed();
  }

  styleOf(feature, resolution) {
    const selected = this.selected.has(feature.getId());
    if (feature.get('size') < SMALLEST_PX * resolution && !selected) return null;
    const plain = feature.get('plain');
    const dashed = this.shown.size < MOST_DASHED ? originOf(plain) : '';
    const group = groupOf(plain);
    const key = `${group}\n${dashed}\n${selected}`;
    if (!this.styles.has(key)) this.styles.set(key, this.makeStyle(group, dashed, selected));
    return this.styles.get(key);
  }

  makeStyle(group, origin, selected) {
    const colour = this.classes.colourOf(group);
    const line = new Style({
      stroke: new Stroke({
        color: rgb(colour), width: selected ? 3.5 : 2, lineDash: DASHES[origin],
      }),
      fill: new Fill({color: rgb(colour, selected ? 0.22 : 0.1)}),
      zIndex: selected ? 2 : 1,
    });
    if (!selected) return line;
    const halo = new Style({stroke: new Stroke({color: 'rgba(255,255,255,.9)', width: 7}), zIndex: 1});
    return [halo, line];
  }

  drawSmall(extent, resolution, pixelRatio, [width, height]) {
    const canvas = Object.assign(document.createElement('canvas'), {
      width: Math.round(width * pixelRatio), height: Math.round(height * pixelRatio),
    });
    const context = canvas.getContext('2d');
    const scale = canvas.width / (extent[2] - extent[0]);
    let hidden = 0;
    for (const {plain, feature} of this.shown.values()) {
      const size = feature.get('size');
      if (size >= SMALLEST_PX * resolution) continue;
      hidden += 1;
      const [x, y] = feature.getGeometry().getFirstCoordinate();
      const side = Math.max(2.5 * pixelRatio, size * scale);
      context.fillStyle = rgb(this.classes.colourOf(groupOf(plain)), 0.85);
      context.fillRect((x - extent[0]) * scale, (extent[3] - y) * scale, side, side);
    }
    this.hiddenCount = hidden;
    this.onhidden?.(hidden);
    return canvas;
  }

  setVisible(visible) {
    this.layer.setVisible(visible);
    this.smallLayer.setVisible(visible);
  }

  /** Show a frame around the square to look at. */
  frame([x0, y0, x1, y1]) {
    this.frames ??= this.addFrames();
    const ring = [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]];
    this.frames.clear();
    this.frames.addFeature(new Feature(new MultiPolygon(flip([[ring]]))));
  }

  addFrames() {
    const source = new VectorSource();
    const line = (color, width, lineDash) => new Style({stroke: new Stroke({color, width, lineDash})});
    const style = [line('rgba(255,255,255,.9)', 4), line('#1f6feb', 2, [8, 6])];
    this.slideMap.map.addLayer(new VectorLayer({source, style, zIndex: 5}));
    return source;
  }

  /** The smallest outline at a pixel of the pane, so that those inside others can be reached. */
  at(pixel) {
    const place = this.slideMap.map.getCoordinateFromPixel(pixel);
    const reach = HIT_PX * this.slideMap.view.getResolution();
    const around = [place[0] - reach, place[1] - reach, place[0] + reach, place[1] + reach];
    const hits = this.source.getFeaturesInExtent(around).filter((feature) => {
      const geometry = feature.getGeometry();
      if (geometry.intersectsCoordinate(place)) return true;
      const [x, y] = geometry.getClosestPoint(place);
      return Math.hypot(x - place[0], y - place[1]) <= reach;
    });
    return hits.sort((a, b) => a.get('size') - b.get('size'))[0]?.get('plain') ?? null;
  }

  select(ids, add = false) {
    if (!add) this.selected.clear();
    for (const id of ids) {
      if (add && this.selected.has(id)) this.selected.delete(id);
      else this.selected.add(id);
    }
    this.layer.changed();
    this.onselect?.();
  }

  selection() {
    return this.outlines.features.filter((feature) => this.selected.has(feature.id));
  }
}
