// The pane: tiles of one slide, zoom, rotation, magnification. Frame of all that other modules see:
// level-0 px, x to the right and y down; OpenLayers counts y upwards, so y changes its sign here.
import {
  DragPan, OlMap, Projection, TileGrid, TileImage, TileLayer, View, defaultInteractions,
} from './vendor/ol.js';
import {slidePath, request} from './api.js';
import {throttle} from './dom.js';

export const MAGNIFICATIONS = [1.25, 2.5, 5, 10, 20, 40];
const UM_AT_1X = 10; // µm per screen px at 1×: an objective of 40× gives 0.25 µm/px
const CLOSEST = 1 / 8; // level-0 px per screen px
const TRIES = 6;

export const toMap = ([x, y]) => [x, -y];
export const fromMap = ([x, y]) => [x, y === 0 ? 0 : -y];

/** Load a tile; a busy server is asked again. `tell(error)` hears why a tile, or a part of it, is
 * missing. */
function tileLoader(signal, tell) {
  return async (tile, address) => {
    for (let attempt = 1; attempt <= TRIES; attempt++) {
      try {
        const answer = await request(address, {signal});
        const lost = answer.headers.get('X-Unreadable');
        if (lost) tell({status: answer.status, message: lost});
        const image = await createImageBitmap(await answer.blob());
        if (signal.aborted) return;
        tile.setImage(image);
        return;
      } catch (error) {
        if (signal.aborted) return;
        if (error.status === 410 || error.status === 401) {
          tell(error);
          break;
        }
        if (error.status === 404 || attempt === TRIES) break;
        tell(error);
        await new Promise((resolve) => setTimeout(resolve, 500 * attempt));
      }
    }
    if (!signal.aborted) tile.setState(3); // OpenLayers: ERROR
  };
}

export class SlideMap {
  /** geometry: width, height, mpp, tile_px, resolutions (coarsest first), v: identity. */
  constructor(target, id, geometry, signal, tell) {
    const {width, height} = geometry;
    Object.assign(this, {id, geometry, target});
    this.extent = [0, -height, width, 0];
    this.projection = new Projection({code: 'slide', units: 'pixels', extent: this.extent});
    const tiles = slidePath(id, '/tiles/');
    this.source = new TileImage({
      projection: this.projection,
      tileGrid: new TileGrid({
        extent: this.extent,
        origin: [0, 0],
        resolutions: geometry.resolutions,
        tileSize: geometry.tile_px,
      }),
      tileUrlFunction: ([z, x, y]) =>
        `${tiles}${z}/${x}/${y}.jpg?v=${encodeURIComponent(geometry.v ?? '')}`,
      tileLoadFunction: tileLoader(signal, tell),
      transition: 120,
    });
    this.view = new View({
      projection: this.projection,
      center: [width / 2, -height / 2],
      resolution: this.fitResolution(),
      maxResolution: this.fitResolution() * 2,
      minResolution: Math.min(CLOSEST, this.fitResolution()),
      extent: this.extent,
      constrainOnlyCenter: true,
      smoothExtentConstraint: false,
      enableRotation: true,
      constrainRotation: false,
    });
    this.map = new OlMap({
      target,
      view: this.view,
      controls: [],
      interactions: defaultInteractions({keyboard: false, dragPan: false, doubleClickZoom: false}),
      layers: [new TileLayer({source: this.source, extent: this.extent, cacheSize: 512})],
      maxTilesLoading: 12,
    });
    this.drag = new DragPan();
    this.map.addInteraction(this.drag);
  }

  fitResolution() {
    const {width, height} = this.geometry;
    const box = this.target.getBoundingClientRect();
    return Math.max(width / Math.max(1, box.width), height / Math.max(1, box.height)) * 1.06;
  }

  /** {x, y, resolution, degrees}: centre in level-0 px, level-0 px per screen px. */
  place() {
    const [x, y] = fromMap(this.view.getCenter());
    const degrees = Math.round((this.view.getRotation() * 1800) / Math.PI) / 10;
    return {x, y, resolution: this.view.getResolution(), degrees: ((degrees % 360) + 360) % 360};
  }

  go({x, y, resolution, degrees}, duration = 250) {
    const change = {duration};
    if (Number.isFinite(x) && Number.isFinite(y)) change.center = toMap([x, y]);
    if (resolution > 0) change.resolution = resolution;
    if (Number.isFinite(degrees)) change.rotation = (degrees * Math.PI) / 180;
    this.arrive();
    this.aim = change;
    if (duration) return this.view.animate(change);
    this.jump(change);
  }

  jump({center, resolution, rotation}) {
    if (resolution) this.view.setResolution(resolution);
    if (rotation !== undefined) this.view.setRotation(rotation);
    if (center) this.view.setCenter(center);
  }

  /** End a movement that is under way where it leads, so that quick keys add up. */
  arrive() {
    if (!this.view.getAnimating()) return;
    this.view.cancelAnimations();
    this.jump(this.aim);
  }

  /** Show a box [x0, y0, x1, y1] of level-0 px with some room around. */
  showBox([x0, y0, x1, y1], room = 1.35) {
    const [width, height] = this.map.getSize();
    const resolution = Math.max((x1 - x0) / width, (y1 - y0) / height, CLOSEST) * room;
    this.go({x: (x0 + x1) / 2, y: (y0 + y1) / 2, resolution});
  }

  fit() {
    const {width, height} = this.geometry;
    this.go({x: width / 2, y: height / 2, resolution: this.fitResolution(), degrees: 0});
  }

  zoom(factor) {
    this.arrive();
    this.go({resolution: this.view.getResolution() / factor}, 180);
  }

  turn(degrees) {
    this.arrive();
    this.go({degrees: this.place().degrees + degrees});
  }

  /** Move by a share of the pane, in directions of the screen. */
  pan(across, down) {
    this.arrive();
    const [width, height] = this.map.getSize();
    const {x, y, resolution} = this.place();
    const [right, below] = [across * width * resolution, down * height * resolution];
    const turn = this.view.getRotation();
    this.go({
      x: x + right * Math.cos(turn) + below * Math.sin(turn),
      y: y - right * Math.sin(turn) + below * Math.cos(turn),
    }, 120);
  }

  /** Magnification on the screen, or null where µm/px is unknown. */
  magnification() {
    const {mpp} = this.geometry;
    return mpp ? UM_AT_1X / (mpp * this.view.getResolution()) : null;
  }

  magnify(magnification) {
    const {mpp} = this.geometry;
    if (!mpp) return false;
    this.go({resolution: UM_AT_1X / (mpp * magnification)});
    return true;
  }

  /** Call work(place) at most every 60 ms while the view moves. */
  onMove(work) {
    const soon = throttle(() => this.map.getSize() && work(this.place()), 60);
    this.view.on(['change:center', 'change:resolution', 'change:rotation'], soon);
    this.map.on('change:size', soon);
    this.map.on('moveend', soon);
  }

  close() {
    this.map.setTarget(undefined);
    this.map.dispose();
  }
}

/** Length of the scale bar: a round number of µm (or px) that fits in `most` screen px. */
export function scaleBar(resolution, mpp, most = 140) {
  const unit = resolution * (mpp || 1);
  const longest = unit * most;
  const power = 10 ** Math.floor(Math.log10(longest));
  const length = [5, 2, 1].map((k) => k * power).find((one) => one <= longest);
  const number = (value) => Number(value.toPrecision(3)).toLocaleString('en');
  let text = `${number(length)} px`;
  if (mpp) text = length >= 1000 ? `${number(length / 1000)} mm` : `${number(length)} µm`;
  return {width: length / unit, text};
}
