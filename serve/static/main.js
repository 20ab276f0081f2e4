// Start of the page: the link in the address bar says what is open; keys and buttons act on it.
import {Refused, SESSION_ENDED, Unreachable, connection, fetchJson, startHeartbeat} from './api.js';
import {Classes} from './classes.js';
import {byId, toast} from './dom.js';
import {TOOLS} from './draw.js';
import {listenToKeys, showHelp} from './keys.js';
import {SlideList} from './list.js';
import {MAGNIFICATIONS} from './map.js';
import {NextRegions} from './next.js';
import {OpenSlide} from './slide.js';
import {makeToolbar, showTool} from './slide_panels.js';

const AGAIN_MS = 2000;
const REGION_ROOM = 1.3;
let session = null;
let classes = null;
let open = null; // the slide on the pane
let wantedRegion = null;
const list = new SlideList();
const next = new NextRegions(byId('next'), {open: showRegion, settled: markRegion});

async function loadSlides() {
  try {
    session = await fetchJson('api/slides');
  } catch (error) {
    const ended = error instanceof Refused && error.status === 401;
    byId('list-count').textContent = ended
      ? SESSION_ENDED
      : `The list could not be loaded: ${error.message}`;
    setTimeout(loadSlides, AGAIN_MS);
    return;
  }
  classes ??= new Classes(session.classes);
  next.readOnly = session.read_only;
  list.update(session);
  if (!session.complete) setTimeout(loadSlides, AGAIN_MS);
}

/** #/slide/ID?x=…&y=…&res=…&turn=… */
function readLink() {
  const [path, query = ''] = location.hash.slice(1).split('?');
  if (!path.startsWith('/slide/')) return {id: null};
  const values = new URLSearchParams(query);
  const number = (name) => (values.has(name) ? Number(values.get(name)) : NaN);
  let id = path.slice('/slide/'.length);
  try {
    id = decodeURIComponent(id);
  } catch { /* a link that somebody cut; the server will not know it */ }
  const place = {x: number('x'), y: number('y'), resolution: number('res'), degrees: number('turn')};
  return {id, place: Number.isFinite(place.x) && place.resolution > 0 ? place : null};
}

function writeLink({x, y, resolution, degrees}) {
  const round = (value, digits) => Number(value.toFixed(digits));
  const query = new URLSearchParams({
    x: round(x, 1), y: round(y, 1), res: round(resolution, 4), turn: degrees,
  });
  history.replaceState(null, '', `#/slide/${encodeURIComponent(open.id)}?${query}`);
}

async function follow() {
  const left = open;
  if (left && left.id === readLink().id) {
    const {place} = readLink();
    if (place) left.slideMap?.go(place, 0);
    return;
  }
  await left?.leave();
  if (open !== left) return; // a later link was faster
  const {id, place} = readLink();
  left?.close();
  open = null;
  document.body.dataset.view = id === null ? 'list' : 'slide';
  byId('slide-name').textContent = id ?? '';
  Object.assign(byId('status'), {textContent: id === null ? '' : 'Loading …', className: 'status'});
  document.title = id === null ? 'gigaslide' : `${id} – gigaslide`;
  if (id === null) return void loadSlides();
  await show(new OpenSlide(id, {session, classes}), place);
}

async function show(slide, place) {
  open = slide;
  try {
    await slide.open(wantedRegion?.slide === slide.id ? null : place);
    if (slide.signal.aborted) return;
    slide.panels.onplace = (where) => open === slide && writeLink(where);
    slide.tools.onuse = (name) => showTool(TOOLS, name);
    slide.tools.use('select');
    byId('snap').checked = slide.tools.snapping;
    if (wantedRegion?.slide === slide.id) goToRegion();
    await slide.load();
  } catch (error) {
    if (slide.signal.aborted) return;
    const {message} = error;
    const words = message.startsWith(`${slide.id}:`) ? message : `${slide.id}: ${message}`;
    const box = toast(words, 'error');
    slide.signal.addEventListener('abort', () => box.remove());
    if (error instanceof Unreachable && !slide.slideMap) {
      setTimeout(() => open === slide && show(slide, place), AGAIN_MS);
    } else if (!slide.panels) {
      byId('status').textContent = 'This slide cannot be shown';
      for (const id of ['undo', 'redo', 'save', 'accept']) byId(id).disabled = true;
    }
  }
}

function openSlide(id) {
  location.hash = `/slide/${encodeURIComponent(id)}`;
}

function showRegion(region) {
  wantedRegion = region;
  if (open?.id === region.slide && open.slideMap) goToRegion();
  else openSlide(region.slide);
}

function goToRegion() {
  const {x, y, width, height} = wantedRegion;
  open.slideMap.showBox([x, y, x + width, y + height], REGION_ROOM);
  open.layer.frame([x, y, x + width, y + height]);
  wantedRegion = null;
}

/** The reason of a region, or why there is none, is to be seen. */
async function goToNext() {
  showPanel('next');
  await next.next();
  if (!open && next.problem) toast(next.problem);
}

function markRegion(region, outcome) {
  if (outcome !== 'accepted' || open?.id !== region.slide || !open.commands) return;
  open.commands.markRegion(region, open.saving.about.accepted);
}

const toggle = (id) => () => byId(id).click();
const MOVES = {ArrowLeft: [-0.2, 0], ArrowRight: [0.2, 0], ArrowUp: [0, -0.2], ArrowDown: [0, 0.2]};
const SHORT_MOVE = 0.1; // with Shift

function pan({key, shiftKey}) {
  const [across, down] = MOVES[key].map((share) => share * (shiftKey ? SHORT_MOVE : 1));
  open.slideMap.pan(across, down);
}

/** Actions without an open slide. */
const GLOBAL = {
  help: showHelp,
  list: () => { location.hash = '/'; },
  next: goToNext,
  'region-fine': () => next.settle('accepted'),
  'region-skip': () => next.settle('skipped'),
};
/** Actions on the open slide. */
const ACTIONS = {
  pan,
  panel: goToNextPanel,
  'zoom-in': () => open.slideMap.zoom(2),
  'zoom-out': () => open.slideMap.zoom(0.5),
  fit: () => open.slideMap.fit(),
  magnify: (event) => open.slideMap.magnify(MAGNIFICATIONS[Number(event.key) - 1])
    || toast('The µm/px of this slide is unknown, so there is no magnification'),
  'turn-right': () => open.slideMap.turn(15),
  'turn-left': () => open.slideMap.turn(-15),
  north: () => open.slideMap.go({degrees: 0}),
  heatmap: toggle('heatmap-on'),
  detections: toggle('detections-on'),
  outlines: toggle('outlines-on'),
  'slide-next': () => openSlide(list.neighbour(open.id, 1).id),
  'slide-previous': () => openSlide(list.neighbour(open.id, -1).id),
  'brush-size': (event) => open.tools.brush.resize(event.key === ']' ? 1.25 : 0.8),
  corner: () => open.tools.setCorner(),
  finish: () => open.tools.finish(),
  'take-back': () => (open.tools.sketch ? open.tools.takeBack() : removePoint()),
  escape: () => open.tools.escape(),
  walk: (event) => open.commands.walk(event.key === '.' ? 1 : -1),
  fill: () => open.commands.fill(),
  merge: () => open.commands.merge(),
  smooth: () => open.commands.smooth(),
  assign: () => open.commands.assign(classes.active),
  delete: () => removePoint() || open.commands.remove(),
  undo: () => open.commands.undo(),
  redo: () => open.commands.redo(),
  save: () => open.saving.save(),
  accept: () => open.commands.accept(),
};
const READING = new Set(['pan', 'zoom-in', 'zoom-out', 'fit', 'magnify', 'turn-right', 'turn-left',
  'north', 'panel', 'heatmap', 'detections', 'outlines', 'slide-next', 'slide-previous', 'walk', 'escape']);
for (const name of Object.keys(TOOLS)) ACTIONS[`tool-${name}`] = () => open.tools.use(name);

const removePoint = () => open.tools.name === 'corners' && open.tools.modify.removePoint();

function act(action, event) {
  if (GLOBAL[action]) return void GLOBAL[action](event);
  if (!ACTIONS[action] || !open?.panels) return false;
  if (open.readOnly && !READING.has(action) && action !== 'tool-select') return false;
  ACTIONS[action](event);
}

function bind() {
  const toolKeys = Object.fromEntries(Object.entries(TOOLS).map(([name, [text, help]]) =>
    [name, [text, help, {polygon: 'P', freehand: 'F', trace: 'T', brush: 'B', erase: 'E', corners: 'C', hole: 'H', split: 'S'}[name] ?? 'V']]));
  makeToolbar(toolKeys, (name) => {
    act(`tool-${name}`);
    byId('map').focus(); // where the tool is used: Enter closes an outline, and presses no button
  }, session?.read_only);
  for (const button of document.querySelectorAll('[data-action]')) {
    button.addEventListener('click', (event) => act(button.dataset.action, event));
  }
  for (const tab of document.querySelectorAll('[role=tab]')) {
    tab.addEventListener('click', () => showPanel(tab.dataset.panel));
  }
  byId('new-class').addEventListener('submit', (event) => {
    event.preventDefault();
    classes.add(byId('new-class-name').value);
    byId('new-class-name').value = '';
  });
  byId('snap').addEventListener('change', () => {
    if (!open?.tools) return;
    open.tools.snapping = byId('snap').checked;
    open.tools.use(open.tools.name);
  });
  byId('theme').addEventListener('click', () => {
    const root = document.documentElement;
    const dark = getComputedStyle(root).getPropertyValue('color-scheme') === 'dark'
      || (!root.dataset.theme && matchMedia('(prefers-color-scheme: dark)').matches);
    root.dataset.theme = dark ? 'light' : 'dark';
    localStorage.setItem('theme', root.dataset.theme);
  });
  byId('side-toggle').addEventListener('click', () => document.body.classList.toggle('side-open'));
  window.addEventListener('pagehide', () => open?.saving?.draftLast());
  window.addEventListener('beforeunload', (event) => open?.saving?.unsaved && event.preventDefault());
  window.addEventListener('hashchange', follow);
  document.addEventListener('visibilitychange', seeOtherSaves);
  connection.addEventListener('change', () => { byId('offline').hidden = connection.up; });
  listenToKeys(act, (held) => open?.tools && open.tools.holdSpace(held));
}

function showPanel(name) {
  for (const tab of document.querySelectorAll('[role=tab]')) {
    const chosen = tab.dataset.panel === name;
    tab.setAttribute('aria-selected', String(chosen));
    byId(`panel-${tab.dataset.panel}`).hidden = !chosen;
  }
  if (name === 'versions') seeOtherSaves();
}

function goToNextPanel() {
  const tabs = [...document.querySelectorAll('[role=tab]')];
  const at = tabs.findIndex((tab) => tab.getAttribute('aria-selected') === 'true');
  const tab = tabs[(at + 1) % tabs.length];
  showPanel(tab.dataset.panel);
  tab.focus();
}

/** Somebody may have saved the slide elsewhere while nobody looked here. */
function seeOtherSaves() {
  if (document.visibilityState === 'visible') open?.refresh().catch(() => {});
}

async function start() {
  document.documentElement.dataset.theme = localStorage.getItem('theme') ?? '';
  await loadSlides();
  while (!session) await new Promise((resolve) => setTimeout(resolve, AGAIN_MS / 4));
  document.body.classList.toggle('read-only', session.read_only);
  byId('annotator').textContent = session.annotator;
  bind();
  showPanel('show');
  startHeartbeat();
  await follow();
}

start();
