// Tumour probability and detections over the slide. Colours and threshold are made here, so the
// sliders ask the server for nothing.
import {
  CircleStyle, Feature, Fill, ImageCanvas, ImageLayer, Point, RegularShape, Stroke, Style,
  VectorLayer, VectorSource,
} from './vendor/ol.js';
import {fetchJson, request, slidePath} from './api.js';
import {toMap} from './map.js';

const UNREADABLE = 1; // grey values of heatmap-grey.png; from FIRST on they are probabilities
const FIRST = 2;
const STEPS = 253;
/** Colours of probability 0 to 1: pale yellow, orange, red, violet; told apart by lightness too. */
const RAMP = [[255, 247, 188], [254, 196, 79], [240, 100, 40], [190, 20, 60], [90, 0, 90]];

export function colourOf(probability) {
  const at = probability * (RAMP.length - 1);
  const low = Math.min(Math.floor(at), RAMP.length - 2);
  return RAMP[low].map((value, k) => Math.round(value + (RAMP[low + 1][k] - value) * (at - low)));
}

function hatching(context) {
  const tile = document.createElement('canvas');
  tile.width = tile.height = 8;
  const pen = tile.getContext('2d');
  pen.strokeStyle = 'rgba(60,60,60,.8)';
  pen.lineWidth = 1.5;
  for (const shift of [-8, 0, 8]) {
    pen.moveTo(shift, 8);
    pen.lineTo(shift + 8, 0);
  }
  pen.stroke();
  return context.createPattern(tile, 'repeat');
}

export class Heatmap {
  constructor(slideMap) {
    this.slideMap = slideMap;
    this.threshold = 0.5;
    this.found = null;
    this.source = new ImageCanvas({
      projection: slideMap.projection,
      ratio: 1,
      canvasFunction: (...args) => this.draw(...args),
    });
    this.layer = new ImageLayer({source: this.source, opacity: 0.5, visible: false, zIndex: 1});
    this.points = new VectorSource();
    this.detections = new VectorLayer({source: this.points, visible: true, zIndex: 4});
    slideMap.map.addLayer(this.layer);
    slideMap.map.addLayer(this.detections);
  }

  /** Load both; the facts of the heatmap, or null where the slide has none. */
  async load(signal) {
    const path = (rest) => slidePath(this.slideMap.id, rest);
    let about;
    try {
      about = await fetchJson(path('/heatmap'), {signal});
    } catch (error) {
      if (error.status === 404) return null;
      throw error;
    }
    if (!about.fits) return about;
    const [picture, {detections}] = await Promise.all([
      request(path(`/heatmap-grey.png?v=${encodeURIComponent(about.v)}`), {signal})
        .then((answer) => answer.blob()).then((blob) => createImageBitmap(blob)),
      fetchJson(path('/detections'), {signal}),
    ]);
    if (signal.aborted) return null;
    this.found = about;
    this.readValues(picture);
    this.threshold = about.threshold ?? 0.5;
    this.points.addFeatures(detections.map((one) => {
      const feature = new Feature(new Point(toMap([one.x, one.y])));
      feature.setProperties(one);
      return feature;
    }));
    this.recolour();
    return about;
  }

  readValues(picture) {
    const {width, height} = picture;
    this.canvas = Object.assign(document.createElement('canvas'), {width, height});
    const context = this.canvas.getContext('2d', {willReadFrequently: true});
    context.drawImage(picture, 0, 0);
    const {data} = context.getImageData(0, 0, width, height);
    this.values = Uint8Array.from({length: width * height}, (_, k) => data[4 * k]);
    this.unreadable = [];
    this.values.forEach((value, k) => value === UNREADABLE && this.unreadable.push(k));
  }

  /** Colour every cell from the threshold on; others stay clear. */
  recolour() {
    if (!this.found) return;
    const table = new Uint32Array(256);
    const bytes = new Uint8Array(table.buffer);
    for (let value = FIRST; value < 256; value++) {
      const probability = (value - FIRST) / STEPS;
      if (probability < this.threshold) continue;
      bytes.set([...colourOf(probability), 255], 4 * value);
    }
    const {width, height} = this.canvas;
    const cells = new Uint32Array(this.values.length);
    this.values.forEach((value, k) => { cells[k] = table[value]; });
    const image = new ImageData(new Uint8ClampedArray(cells.buffer), width, height);
    this.canvas.getContext('2d').putImageData(image, 0, 0);
    this.source.changed();
    this.detections.setStyle((feature) =>
      feature.get('probability') >= this.threshold ? detectionStyle : null);
  }

  draw(extent, resolution, pixelRatio, [width, height]) {
    const canvas = Object.assign(document.createElement('canvas'), {
      width: Math.round(width * pixelRatio), height: Math.round(height * pixelRatio),
    });
    if (!this.found) return canvas;
    const context = canvas.getContext('2d');
    const [x0, y0, x1, y1] = this.found.extent;
    const scale = canvas.width / (extent[2] - extent[0]);
    const left = (x0 - extent[0]) * scale;
    const top = (extent[3] + y0) * scale;
    context.imageSmoothingEnabled = false;
    context.drawImage(this.canvas, left, top, (x1 - x0) * scale, (y1 - y0) * scale);
    const {columns, rows} = this.found;
    const [wide, high] = [((x1 - x0) * scale) / columns, ((y1 - y0) * scale) / rows];
    context.fillStyle = hatching(context);
    context.beginPath();
    for (const k of this.unreadable) {
      context.rect(left + (k % columns) * wide, top + Math.floor(k / columns) * high, wide, high);
    }
    context.fill();
    return canvas;
  }

  setThreshold(threshold) {
    this.threshold = threshold;
    this.recolour();
  }
}

const detectionStyle = [
  new Style({image: new CircleStyle({radius: 9, stroke: new Stroke({color: '#fff', width: 4})})}),
  new Style({image: new CircleStyle({radius: 9, stroke: new Stroke({color: '#111', width: 2})})}),
  new Style({image: new RegularShape({
    points: 4, radius: 5, radius2: 0, stroke: new Stroke({color: '#111', width: 1.5}),
    fill: new Fill({color: '#111'}),
  })}),
];
