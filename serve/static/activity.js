// Input of the annotator on a slide, told to the server in sums of 5 s; it counts the minutes.
import {fetchJson} from './api.js';
import {TAB} from './kept_work.js';

const SUM_MS = 5000;
const MOST = 200;
const INPUTS = ['pointermove', 'pointerdown', 'keydown', 'wheel'];

export class Activity {
  constructor(slide, mode, signal) {
    Object.assign(this, {slide, mode});
    this.waiting = [];
    this.add('open');
    const note = (event) => {
      if (event.isTrusted && document.visibilityState === 'visible') this.last = Date.now();
    };
    for (const name of INPUTS) window.addEventListener(name, note, {signal, passive: true, capture: true});
    const timer = setInterval(() => this.sum(), SUM_MS);
    const leave = () => this.close();
    window.addEventListener('pagehide', leave, {signal});
    signal.addEventListener('abort', () => {
      clearInterval(timer);
      leave();
    });
    this.send();
  }

  add(kind, time = Date.now()) {
    this.waiting.push({slide: this.slide, kind, tab: TAB, mode: this.mode, time: time / 1000});
    this.waiting.splice(0, this.waiting.length - MOST);
  }

  sum() {
    if (this.last) {
      this.add('input', this.last);
      this.last = 0;
    }
    this.send();
  }

  async send() {
    const events = this.waiting.splice(0);
    if (!events.length) return;
    try {
      await fetchJson('api/events', {method: 'POST', json: {events}, keepalive: true});
    } catch (error) {
      if (!error.status) this.waiting.unshift(...events); // no server now; later
    }
  }

  close() {
    if (this.closed) return;
    this.closed = true;
    if (this.last) this.add('input', this.last);
    this.add('close');
    this.send();
  }
}
