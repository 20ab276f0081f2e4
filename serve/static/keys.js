// Keys, and the panel that lists them.
import {ask, h} from './dom.js';

/** [heading, [[keys, text, action], …], …]; keys as `event.key`, with Ctrl+, Shift+ before. */
export const KEYS = [
  ['Look', [
    ['ArrowLeft ArrowRight ArrowUp ArrowDown', 'Move; with Shift a little', 'pan'],
    ['+ =', 'Zoom in', 'zoom-in'],
    ['-', 'Zoom out', 'zoom-out'],
    ['0', 'Whole slide', 'fit'],
    ['1 2 3 4 5 6', '1.25×, 2.5×, 5×, 10×, 20×, 40×', 'magnify'],
    ['r', 'Turn right by 15°', 'turn-right'],
    ['Shift+R', 'Turn left by 15°', 'turn-left'],
    ['g', 'Heatmap on or off', 'heatmap'],
    ['d', 'Detections on or off', 'detections'],
    ['o', 'Outlines on or off', 'outlines'],
    ['l', 'List of slides', 'list'],
    ['PageDown', 'Next slide', 'slide-next'],
    ['PageUp', 'Previous slide', 'slide-previous'],
    ['w', 'Next panel on the right', 'panel'],
    ['?', 'This help', 'help'],
  ]],
  ['Outline', [
    ['v', 'Select', 'tool-select'],
    ['p', 'Polygon', 'tool-polygon'],
    ['f', 'Freehand', 'tool-freehand'],
    ['t', 'Trace along another outline', 'tool-trace'],
    ['b', 'Brush', 'tool-brush'],
    ['e', 'Eraser', 'tool-erase'],
    ['[ ]', 'Smaller or larger brush', 'brush-size'],
    ['c', 'Corners', 'tool-corners'],
    ['h', 'Hole', 'tool-hole'],
    ['s', 'Split', 'tool-split'],
    ['i', 'Set a corner in the middle of the view', 'corner'],
    ['Enter', 'Close the outline', 'finish'],
    ['Backspace', 'Take back the last corner', 'take-back'],
    ['Escape', 'Give up what is half-made', 'escape'],
    ['Space', 'Hold to move the slide while a tool is in use', ''],
  ]],
  ['Change', [
    [', .', 'Previous or next outline', 'walk'],
    ['u', 'Fill the holes', 'fill'],
    ['m', 'Merge the selected outlines', 'merge'],
    ['x', 'Smooth: fewer corners', 'smooth'],
    ['a', 'Give the active class', 'assign'],
    ['Delete', 'Delete', 'delete'],
    ['Ctrl+z', 'Undo', 'undo'],
    ['Ctrl+y Ctrl+Shift+Z', 'Redo', 'redo'],
    ['Ctrl+s', 'Save', 'save'],
    ['Ctrl+Enter', 'Accept: the slide is done', 'accept'],
  ]],
  ['Next region', [
    ['n', 'Go to the next region', 'next'],
    ['y', 'Looked at, go on', 'region-fine'],
    ['k', 'Skip, go on', 'region-skip'],
  ]],
];
const ACTIONS = new Map(KEYS.flatMap(([, rows]) => rows.flatMap(([keys, , action]) =>
  keys.split(' ').map((key) => [key, action]))));
const SHOWN = {
  ArrowLeft: '←', ArrowRight: '→', ArrowUp: '↑', ArrowDown: '↓', Escape: 'Esc', Delete: 'Del',
  PageDown: 'Page ↓', PageUp: 'Page ↑', Backspace: '⌫',
};

const nameOf = (event) => {
  const control = event.ctrlKey || event.metaKey ? 'Ctrl+' : '';
  const letter = event.key.length === 1 && event.key.toLowerCase() !== event.key.toUpperCase();
  return control + (event.shiftKey && letter ? 'Shift+' : '') + event.key;
};

const writes = (target) => target instanceof HTMLElement
  && (target.matches('input:not([type=range], [type=checkbox], [type=color]), textarea, select')
    || target.isContentEditable);

/** Call act(action, event) for every key of the list; act returns false for keys it leaves alone. */
export function listenToKeys(act, hold) {
  window.addEventListener('keydown', (event) => {
    if (event.altKey || document.querySelector('dialog[open]')) return;
    if (writes(event.target) && !event.ctrlKey && !event.metaKey) return;
    const onControl = event.target instanceof HTMLElement && event.target.matches('button, a, input, summary');
    if (event.key === ' ') {
      if (onControl) return; // presses the button
      hold(true);
      event.preventDefault();
      return;
    }
    if (onControl && event.key === 'Enter' && !event.ctrlKey) return;
    if (event.target.matches?.('input[type=range]') && event.key.startsWith('Arrow')) return;
    const action = ACTIONS.get(nameOf(event));
    if (action && act(action, event) !== false) event.preventDefault();
  });
  window.addEventListener('keyup', (event) => event.key === ' ' && hold(false));
  window.addEventListener('blur', () => hold(false));
}

const keycaps = (keys) => keys.split(' ').map((key) =>
  h('kbd', {}, SHOWN[key] ?? (/(^|\+).$/.test(key) ? key.toUpperCase() : key)
    .replace(/shift\+/i, '⇧ ').replace(/ctrl\+/i, 'Ctrl ')));

export function showHelp() {
  const columns = KEYS.map(([heading, rows]) => h('section', {},
    h('h3', {}, heading),
    h('dl', {}, rows.map(([keys, text]) => [h('dt', {}, keycaps(keys)), h('dd', {}, text)]).flat())));
  return ask({
    title: 'Keys',
    wide: true,
    content: [
      h('p', {className: 'quiet'}, 'The wheel zooms, the mouse drags the slide. The address of the page reopens the same view.'),
      h('div', {className: 'keys'}, columns),
      h('p', {}, h('a', {href: 'gigaslide.groovy', download: ''}, 'Script for QuPath'),
        ': predicts there, fetches outlines and sends yours.'),
      h('p', {className: 'quiet'}, 'Pictures are drawn with OpenLayers: ',
        h('a', {href: 'static/vendor/LICENSES.txt', target: '_blank'}, 'licences'), '.'),
    ],
    answers: [['', 'Close', 'main']],
  });
}
