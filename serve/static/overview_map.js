// The small picture of the whole slide, with the part that the pane shows; a click goes there.
import {slidePath} from './api.js';
import {byId} from './dom.js';

export class OverviewMap {
  constructor(slideMap) {
    this.slideMap = slideMap;
    const {width, height} = slideMap.geometry;
    this.box = byId('overview');
    this.box.hidden = false;
    this.picture = byId('overview-picture');
    this.picture.src = slidePath(
      slideMap.id, `/thumbnail.jpg?v=${encodeURIComponent(slideMap.geometry.v)}`,
    );
    const longest = Math.max(width, height);
    this.box.style.setProperty('--w', width / longest);
    this.box.style.setProperty('--h', height / longest);
    this.mark = byId('overview-mark');
    byId('overview-plan').setAttribute('viewBox', `0 0 ${width} ${height}`);
    this.stop = new AbortController();
    const {signal} = this.stop;
    const follow = (event) => {
      if (!(event.buttons & 1) && event.type === 'pointermove') return;
      const around = this.box.getBoundingClientRect();
      slideMap.go({
        x: ((event.clientX - around.left) / around.width) * width,
        y: ((event.clientY - around.top) / around.height) * height,
      }, event.type === 'pointerdown' ? 150 : 0);
    };
    this.box.addEventListener('pointerdown', (event) => {
      this.box.setPointerCapture(event.pointerId);
      follow(event);
    }, {signal});
    this.box.addEventListener('pointermove', follow, {signal});
  }

  show() {
    const {map} = this.slideMap;
    const [width, height] = map.getSize();
    const corners = [[0, 0], [width, 0], [width, height], [0, height]];
    const points = corners.map((corner) => map.getCoordinateFromPixel(corner));
    if (points.includes(null)) return;
    this.mark.setAttribute('points', points.map(([x, y]) => `${x},${-y}`).join(' '));
  }

  close() {
    this.stop.abort();
    this.picture.removeAttribute('src');
    this.box.hidden = true;
  }
}
