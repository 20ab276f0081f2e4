// Elements of the page. Every text goes through text nodes, so a name is never read as HTML.

/** Make an element; children are elements or texts, `on…` properties are listeners. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name in element && name !== 'list') element[name] = value;
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Return an icon of the sprite in index.html. */
export function icon(name) {
  const space = 'http://www.w3.org/2000/svg';
  const picture = document.createElementNS(space, 'svg');
  picture.setAttribute('class', 'icon');
  picture.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(space, 'use');
  use.setAttribute('href', `#i-${name}`);
  picture.append(use);
  return picture;
}

/** Show a short message above the pane; errors stay until they are closed. */
export function toast(text, kind = 'info') {
  const box = h('div', {className: `toast ${kind}`, role: kind === 'error' ? 'alert' : 'status'});
  for (const old of [...byId('toasts').children]) if (old.dataset.text === text) old.remove();
  box.dataset.text = text;
  const close = h('button', {
    className: 'plain', title: 'Close', 'aria-label': 'Close', onclick: () => box.remove(),
  }, '×');
  box.append(h('span', {}, text), close);
  byId('toasts').append(box);
  while (byId('toasts').children.length > 4) byId('toasts').firstChild.remove();
  if (kind !== 'error') setTimeout(() => box.remove(), 6000);
  return box;
}

/**
 * Ask a question; return the value of the chosen answer, or '' after Escape.
 * answers: [value, label, 'main' | 'danger' | ''], content: elements.
 */
export function ask({title, content = [], answers, wide = false}) {
  return new Promise((resolve) => {
    const buttons = answers.map(([value, label, kind = '']) =>
      h('button', {value, className: kind}, label));
    const dialog = h(
      'dialog',
      {className: wide ? 'wide' : '', 'aria-label': title},
      h('form', {method: 'dialog'},
        h('h2', {}, title), h('div', {className: 'body'}, ...content),
        h('div', {className: 'answers'}, buttons)),
    );
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(dialog.returnValue);
    });
    document.body.append(dialog);
    dialog.returnValue = '';
    dialog.showModal();
    (buttons.find((button) => button.className === 'main') ?? buttons[0])?.focus();
  });
}

export const rgb = ([red, green, blue], alpha = 1) => `rgba(${red},${green},${blue},${alpha})`;
export const toHex = (colour) => `#${colour.map((v) => v.toString(16).padStart(2, '0')).join('')}`;
export const fromHex = (text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));

/** Area in words, of px² at µm/px; px² where the µm/px is unknown. */
export function formatArea(area, mpp) {
  if (!mpp) return `${Math.round(area).toLocaleString('en')} px²`;
  const um2 = area * mpp * mpp;
  return um2 >= 1e5
    ? `${(um2 / 1e6).toPrecision(3)} mm²`
    : `${Math.round(um2).toLocaleString('en')} µm²`;
}

export function formatTime(text) {
  const time = new Date(typeof text === 'number' ? text * 1000 : text);
  if (Number.isNaN(time.getTime())) return String(text ?? '');
  return time.toLocaleString('en-GB', {dateStyle: 'medium', timeStyle: 'short'});
}

/** Call at most once every `ms`; the last call always runs. */
export function throttle(work, ms) {
  let timer = null;
  let last = 0;
  return (...args) => {
    clearTimeout(timer);
    const run = () => {
      last = performance.now();
      work(...args);
    };
    timer = setTimeout(run, Math.max(0, last + ms - performance.now()));
  };
}
