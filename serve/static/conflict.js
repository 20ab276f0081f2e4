// Somebody saved the slide meanwhile: show both sets of outlines and let a person decide.
import {ask, formatTime, h, rgb} from './dom.js';
import {boundsOf, groupOf, merge, polygonsOf} from './outlines.js';

const SIDE_PX = 300;

/** Draw outlines in a small picture; `bounds` of level-0 px fill it. */
function drawOutlines(features, bounds, side = SIDE_PX) {
  const canvas = h('canvas', {width: side, height: side, className: 'plan'});
  const context = canvas.getContext('2d');
  const [x0, y0, x1, y1] = bounds;
  const scale = (side - 20) / Math.max(x1 - x0, y1 - y0, 1);
  const left = (side - (x1 - x0) * scale) / 2;
  const top = (side - (y1 - y0) * scale) / 2;
  for (const feature of features) {
    const colour = feature.properties?.classification?.color ?? [0, 120, 200];
    context.beginPath();
    for (const ring of polygonsOf(feature).flat()) {
      ring.forEach(([x, y], k) =>
        context[k ? 'lineTo' : 'moveTo'](left + (x - x0) * scale, top + (y - y0) * scale));
      context.closePath();
    }
    context.fillStyle = rgb(colour, 0.25);
    context.strokeStyle = rgb(colour);
    context.fill('evenodd');
    context.stroke();
  }
  return canvas;
}

const describe = (features) => {
  const counts = new Map();
  for (const feature of features) {
    const group = groupOf(feature) || 'without a class';
    counts.set(group, (counts.get(group) ?? 0) + 1);
  }
  return [...counts].map(([group, count]) => `${count} ${group}`).join(', ') || 'no outlines';
};

/** Two sets of outlines side by side, at one scale; each {title, text, features}. */
export function compareOutlines(...sets) {
  const bounds = boundsOf(sets.flatMap(({features}) => features));
  return h('div', {className: 'both'}, sets.map(({title, text, features}) => h('figure', {},
    h('figcaption', {}, h('strong', {}, title), h('br'), text),
    Number.isFinite(bounds[0]) ? drawOutlines(features, bounds) : null,
    h('p', {}, describe(features)))));
}

/** {label, features, restore} as a person decided: `features` are to be saved, without them the
 * person's own; `restore` is a version to be written again on top. null to decide later.
 * self: name of the person, who may have saved from another tab. */
export async function resolveConflict(outlines, theirs, self) {
  const {annotator, made} = theirs.about;
  const own = (annotator ?? '') === (self ?? '');
  const newer = `version ${theirs.version}`;
  const answer = await ask({
    title: own ? 'This slide was saved meanwhile, in another window' : `${annotator || 'Somebody'} saved this slide meanwhile`,
    wide: true,
    content: [
      h('p', {}, `Nothing is lost: ${newer} stays, and your work here is saved on top of it. If you decide later, it is kept as a draft.`),
      compareOutlines(
        {title: 'Here', text: `begun on version ${outlines.version}, not saved yet`, features: outlines.features},
        {
          title: `Version ${theirs.version}`, features: theirs.features,
          text: `by ${annotator || 'somebody'}${made ? `, ${formatTime(made)}` : ''}`,
        },
      ),
    ],
    answers: [
      ['later', 'Decide later'],
      ['theirs', `Use ${newer}`],
      ['mine', 'Save mine on top'],
      ['both', 'Keep both', 'main'],
    ],
  });
  if (answer === 'both') {
    const {features} = merge(outlines.base, outlines.features, theirs.features);
    return {label: `Merge with version ${theirs.version}`, features};
  }
  if (answer === 'mine') return {label: 'Keep yours'};
  if (answer === 'theirs') {
    return {label: `Use version ${theirs.version}`, restore: theirs.version};
  }
  return null;
}
