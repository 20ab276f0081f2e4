// Saves and edits of the page without a browser: argv names the folder of its modules and the
// scenario; the outcome is printed as JSON. Only what these modules ask of a browser is here.
const [, , folder, scenario] = process.argv;

class Element {
  constructor() { Object.assign(this, {children: [], dataset: {}, listeners: {}, returnValue: ''}); }
  append(...more) { this.children.push(...more); }
  remove() {}
  focus() {}
  setAttribute() {}
  addEventListener(name, work) { this.listeners[name] = work; }
  showModal() {
    this.returnValue = world.answers.shift();
    setTimeout(() => this.listeners.close());
  }
  getContext() { return new Proxy({}, {get: () => () => {}, set: () => true}); }
}
const toasts = new Element();
const store = new Map();
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const later = (asked, name, value) => setTimeout(() => {
  asked.result = value;
  asked[name]();
});
Object.assign(globalThis, {
  sessionStorage: {getItem: () => null, setItem: () => {}},
  location: {pathname: '/'},
  document: {createElement: () => new Element(), getElementById: () => toasts, body: new Element()},
  IDBKeyRange: {bound: (low) => low},
  indexedDB: {open: () => {
    const asked = {};
    const transaction = () => {
      const change = {objectStore: () => ({
        put: (value, key) => (store.set(key, structuredClone(value)), {}),
        delete: (key) => (store.delete(key), {}),
        getAll: (low) => ({result: [...store].filter(([key]) => key.startsWith(low)).map(([, one]) => one)}),
      })};
      later(change, 'oncomplete');
      return change;
    };
    later(asked, 'onsuccess', {transaction, close: () => {}});
    return asked;
  }},
  fetch: async (path, {method = 'GET', body, headers = {}, keepalive = false} = {}) => {
    const json = body && JSON.parse(body);
    world.requests.push({method, path, json, keepalive, match: headers['If-Match']});
    const answer = await world.server({method, path, json, match: headers['If-Match']});
    const {status = 200, etag = '"0"', ...content} = answer ?? {status: 204};
    return {
      ok: status < 400, status, json: async () => content, headers: {get: () => etag},
    };
  },
});

/** A server of versions and drafts; `fail(request)` may answer or throw in its place. */
const world = {
  requests: [], answers: [], versions: [], drafts: new Map(), fail: () => undefined,
  async server({method, path, json, match}) {
    const failed = await this.fail({method, path, json});
    if (failed) return failed;
    const [, tab] = path.match(/drafts\/(.+)$/) ?? [];
    if (tab && method === 'PUT') return void this.drafts.set(tab, json);
    if (tab && method === 'DELETE') return void this.drafts.delete(tab);
    if (path.endsWith('/drafts')) return {drafts: []};
    if (path === 'api/edit') return {outlines: [feature(`made-${this.requests.length}`)], notes: []};
    if (method === 'GET') {
      const number = Number(path.split('version=')[1] ?? this.versions.length);
      const {features = [], ...about} = this.versions[number - 1] ?? {};
      return {features, gigaslide: about, etag: `"${number}"`};
    }
    if (match !== `"${this.versions.length}"`) return {status: 409};
    const restored = path.match(/versions\/(\d+)\/restore/);
    this.add(restored ? this.versions[restored[1] - 1].features : json.outlines.features, 'Ada');
    this.drafts.delete(json.tab);
    return {version: this.versions.length, notes: [], status: 201};
  },
  add(features, annotator) {
    this.versions.push({features, annotator, parent: this.versions.length});
  },
};
const feature = (id, x = 0) => ({
  type: 'Feature', id, properties: {},
  geometry: {type: 'Polygon', coordinates: [[[x, 0], [x + 9, 0], [x + 9, 9], [x, 0]]]},
});

const load = (name) => import(`${folder}/${name}.js`);
const {Outlines} = await load('outlines');
const {Edits} = await load('edits');
const {Saving} = await load('save');
const {Drafts} = await load('drafts');
const {connection} = await load('api');
const signal = new AbortController().signal;
const outlines = new Outlines();
const classes = {active: 'Tumor', colourOf: () => [1, 2, 3]};
const edits = new Edits(outlines, classes, signal);
const tools = {sketch: null, name: 'polygon'};
const facts = {blind: false, mode: ''};
const saving = new Saving({
  id: 's', v: 'v1', outlines, tools, edits, signal, readOnly: false, facts, annotator: 'Ada',
});
const brush = {kind: 'brush', points: [[1, 1], [5, 5]], radius: 3};
const lengths = () => world.versions.map(({features}) => features.length);
const unreachable = () => { throw new Error('offline'); };
const isSave = ({method, path}) => method === 'POST' && path.endsWith('/outlines');

const SCENARIOS = {
  async 'strokes count and are kept'() {
    world.fail = unreachable;
    edits.draw('Brush', brush);
    await saving.save();
    const [kept] = store.values();
    const without = {unsaved: saving.unsaved, state: saving.state, steps: kept.steps};
    world.fail = () => undefined;
    connection.up = true;
    connection.dispatchEvent(new Event('change'));
    await wait(100);
    return {without, versions: lengths(), state: saving.state, kept: store.size, drafts: world.drafts.size};
  },
  async 'a refused session keeps the stroke'() {
    const found = [];
    for (const status of [401, 503, 500, 422]) {
      world.fail = ({path}) => (path === 'api/edit' ? {status} : undefined);
      edits.draw('Brush', brush);
      await edits.idle();
      found.push(edits.waiting.length);
      edits.dropLast();
    }
    clearTimeout(edits.timer);
    return {found};
  },
  async 'work done during a save is kept'() {
    outlines.add('one', feature('1'));
    world.fail = async (request) => { if (isSave(request)) await wait(60); };
    const first = saving.save();
    await wait(20);
    outlines.add('two', feature('2'));
    saving.draft();
    await first;
    const meanwhile = {drafts: world.drafts.size, kept: store.size, unsaved: saving.unsaved};
    const both = [saving.save(), saving.save()];
    await Promise.all(both);
    return {meanwhile, versions: lengths(), drafts: world.drafts.size, kept: store.size};
  },
  async 'a save after a refusal is made'() {
    outlines.add('one', feature('1'));
    world.fail = async (request) => {
      if (isSave(request)) return {status: 507};
      await wait(40);
    };
    saving.save();
    while (saving.state !== 'refused') await wait(2);
    world.fail = () => undefined;
    await saving.save(); // while the first one still writes the draft
    return {versions: lengths(), state: saving.state};
  },
  async 'a lost answer is no conflict'() {
    outlines.add('one', feature('1'));
    world.fail = (request) => {
      if (!isSave(request)) return;
      world.add(request.json.outlines.features, 'Ada');
      world.fail = () => undefined;
      unreachable();
    };
    await saving.save();
    outlines.add('two', feature('2'));
    await saving.save();
    return {versions: lengths(), state: saving.state, version: outlines.version};
  },
  async 'theirs is used and mine stays'() {
    outlines.add('mine', feature('1'), feature('2'));
    world.add([feature('3')], 'Berta');
    world.answers = ['theirs'];
    await saving.save();
    return {versions: lengths(), state: saving.state, shown: outlines.features.map(({id}) => id)};
  },
  async 'drafts do not queue up'() {
    world.fail = () => wait(20);
    for (let k = 0; k < 20; k++) {
      outlines.add('more', feature(String(k)));
      saving.draft();
    }
    await saving.draft();
    await saving.draft();
    const puts = world.requests.filter(({method}) => method === 'PUT');
    return {puts: puts.map(({json}) => json.features.length)};
  },
  async 'only a small last draft outlives the page'() {
    outlines.add('one', feature('1'));
    await saving.draft();
    outlines.add('two', feature('2'));
    saving.draftLast();
    outlines.add('many', ...Array.from({length: 900}, (_, k) => feature(`n${k}`)));
    saving.draftLast();
    await wait(20);
    return {keepalive: world.requests.map((one) => one.keepalive), up: connection.up};
  },
  async 'leaving keeps the unfinished outline'() {
    tools.sketch = [[1, 2], [3, 4], [5, 6]];
    const kept = saving.draft();
    tools.sketch = null; // as the tools do when the slide is closed
    await kept;
    const again = new Drafts({id: 's', v: 'v1', annotator: 'Ada', signal});
    const other = new Drafts({id: 's', v: 'v2', annotator: 'Ada', signal});
    world.answers = ['go on'];
    const [draft, none] = [await again.offer(), await other.offer()];
    return {sketch: draft.sketch, none};
  },
};

const outcome = await SCENARIOS[scenario]();
outcome.words = toasts.children.map(({dataset}) => dataset.text);
console.log(JSON.stringify(outcome));
process.exit(0);
