// The picture of a clip: mel spectrogram, waveform, and all texts below at their times.
const pictures = (() => {
const MARGIN = 40, SOUND = 112, WAVE = 36, AXIS = 18, LINE = 26;  // pixels
const SECOND = [110, 300], WIDTH = 880;  // pixels of a second, and of a clip where these allow it
const GLYPH = 15;  // letters that are closer move aside

// The template's own namespace, since the page holds no address.
function drawn(name, attributes, ...children) {
  const { namespaceURI } = document.getElementById("picture").content.firstElementChild;
  const made = document.createElementNS(namespaceURI, name);
  for (const key in attributes) made.setAttribute(key, attributes[key]);
  made.append(...children);
  return made;
}

function scaleOf(duration) {
  return Math.min(SECOND[1], Math.max(SECOND[0], WIDTH / Math.max(duration, 0.1)));
}

function waveOf(peaks, width) {
  const step = width / peaks.length, middle = SOUND + WAVE / 2;
  const bars = peaks.map((peak, i) => {
    const half = Math.max(0.5, peak / 100 * WAVE / 2 - 1);
    const x = (MARGIN + (i + 0.5) * step).toFixed(1);
    return `M${x} ${(middle - half).toFixed(1)}v${(2 * half).toFixed(1)}`;
  });
  const thickness = (step * 0.8).toFixed(2);
  return drawn("path", { class: "wave", d: bars.join(""), "stroke-width": thickness });
}

function axis(duration, scale) {
  const step = scale < 200 ? 1 : 0.5, group = drawn("g", { class: "axis" }), y = SOUND + WAVE;
  for (let time = 0; time <= duration; time += step) {
    const x = MARGIN + time * scale;
    group.append(drawn("path", { d: `M${x} 0V${y + 4}` }),
      drawn("text", { x, y: y + 15 }, time.toFixed(step < 1 ? 1 : 0) + (time ? "" : " s")));
  }
  return group;
}

// characters, letters: of the line, spaces and gaps left out.
function lineOf({ name, characters, letters, side }, number, scale, duration, canPlay) {
  const y = SOUND + WAVE + AXIS + LINE * (number + 1) - 8, group = drawn("g", { lang: "ko" });
  group.append(drawn("text", { x: 0, y, class: "name" }, name));
  let free = MARGIN;
  letters.forEach((letter, i) => {
    if (!letter || letter.from > duration) return;
    const at = MARGIN + (letter.from + letter.to) / 2 * scale;
    const x = Math.max(at, free);
    free = x + GLYPH;
    const shown = drawn("text", { x, y }, texts.seen(characters[i]).textContent);
    const room = drawn("rect", { x: x - GLYPH / 2, y: y - 16, width: GLYPH, height: 22, rx: 2 });
    const made = drawn("g", { class: canPlay ? "letter playable" : "letter" }, room, shown,
      drawn("path", { d: `M${at} ${y - LINE + 6}L${x} ${y - 17}` }));
    made.append(drawn("title", {}, texts.titleOf(characters[i], letter, side)));
    Object.assign(made.dataset, { from: letter.from, to: letter.to });
    if (side === 0) made.dataset.shade = texts.shadeOf(letter.value);
    group.append(made);
  });
  return group;
}

// lines: the reference and what each model wrote, as lineOf takes them.
function shown(id, picture, lines, canPlay) {
  const { duration } = picture, scale = scaleOf(duration), width = duration * scale;
  const height = SOUND + WAVE + AXIS + LINE * lines.length + 4;
  const svg = document.getElementById("picture").content.firstElementChild.cloneNode(true);
  svg.setAttribute("width", MARGIN + width + GLYPH);
  svg.setAttribute("height", height);
  svg.setAttribute("aria-label",
    `Mel spectrogram and waveform of ${id}, and the texts at their times`);
  const head = drawn("path", { class: "playhead", d: `M0 0V${height}`, visibility: "hidden" });
  head.addEventListener("time", (event) => {
    head.setAttribute("visibility", event.detail > duration ? "hidden" : "visible");
    head.setAttribute("transform", `translate(${MARGIN + event.detail * scale})`);
  });
  svg.append(
    drawn("image", { class: "sound", href: picture.spectrogram, x: MARGIN, y: 0, width,
      height: SOUND, preserveAspectRatio: "none" }),
    waveOf(picture.waveform, width), axis(duration, scale),
    ...lines.map((line, number) => lineOf(line, number, scale, duration, canPlay)), head);
  const made = texts.element("div", { className: "wide picture", tabIndex: 0 }, svg);
  made.setAttribute("role", "region");
  made.setAttribute("aria-label", "picture of " + id);
  return made;
}

return { shown };
})();
