"use strict";
(() => {
const PAGE = 50;  // clips shown at a time, each with a player
// Characters that no font shows are written as their code, as in the rest of the page.
const UNSEEN = /(?! )[\p{C}\p{Z}\u034f\u115f\u1160\u2800\u3164\uffa0\ufe00-\ufe0f]/gu;
const byId = (id) => document.getElementById(id);
// columns: a list for each name, such as columns.cer[index of a clip].
const { columns, slices } = JSON.parse(byId("data").textContent);
const headers = [...document.querySelectorAll("#clips thead th")];
const filters = [...document.querySelectorAll("#filters select[data-field]")];
const collator = new Intl.Collator("ko", { numeric: true });
const clips = columns.id.map((_, index) => clipAt(index));
let chosen = clips, first = 0, order = { key: "cer", descending: true };

function clipAt(index) {
  const clip = { index };
  for (const name in columns) clip[name] = columns[name][index];
  clip.reference = textOf(clip.pieces, 0);
  clip.hypothesis = textOf(clip.pieces, 1);
  clip.searched = folded([clip.id, clip.reference, clip.hypothesis].join("\n"));
  return clip;
}

// A piece is a string where both texts are equal, else [reference, hypothesis].
function textOf(pieces, side) {
  return pieces.map((piece) => typeof piece === "string" ? piece : piece[side]).join("");
}

function folded(text) { return text.normalize("NFC").toLowerCase(); }

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children.filter((child) => child !== null));
  return made;
}

function small(text, lang = "en") {
  return element("span", { className: "small", lang }, seen(text));
}

function seen(text) {
  const parts = document.createDocumentFragment();
  let from = 0;
  for (const match of text.matchAll(UNSEEN)) {
    const code = match[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
    parts.append(text.slice(from, match.index), element("samp", { textContent: "U+" + code }));
    from = match.index + match[0].length;
  }
  parts.append(text.slice(from));
  return parts;
}

// One of the two lines. What only the other line has leaves a gap here, so that equal characters
// stand below each other.
function line(pieces, side) {
  const made = element("span", { className: "text", lang: "ko" });
  if (!textOf(pieces, side)) {
    made.textContent = "—";
    return made;
  }
  for (const piece of pieces) made.append(shownPiece(piece, side));
  return made;
}

function shownPiece(piece, side) {
  if (typeof piece === "string") return seen(piece);
  const mine = piece[side], other = piece[1 - side];
  const shown = seen((mine || other).replaceAll(" ", "␣"));
  if (!mine) return element("span", { className: "gap", ariaHidden: "true" }, shown);
  return element(other ? "mark" : ["del", "ins"][side], {}, shown);
}

function player(clip) {
  const made = element("audio", { controls: true, preload: "none", src: clip.audio });
  made.setAttribute("aria-label", "audio of " + clip.id);
  const korean = element("span", { lang: "ko", textContent: "음성을 재생할 수 없습니다." });
  const excuse = element("p", { className: "small" },
    "The audio cannot be played: was it moved? ", korean);
  made.addEventListener("error", () => made.replaceWith(excuse), { once: true });
  return made;
}

const cells = {
  id(clip) {
    const known = Object.values(slices)
      .map((slice) => slice.values[slice.clips[clip.index]])
      .filter((value) => value !== undefined);
    const id = element("span", { className: "id" }, seen(clip.id));
    return element("th", { scope: "row" }, id, small(known.join(" · "), "ko"));
  },
  reference(clip) {
    const lines = element("div", { className: "lines" },
      small("ref"), line(clip.pieces, 0), small("hyp"), line(clip.pieces, 1));
    const problem = clip.problem && element("p", { className: "badge" }, seen(clip.problem));
    return element("td", {}, lines, problem, clip.audio && player(clip));
  },
};

function numberCell(clip, header) {
  const digits = { duration: 1, confidence: 2 }[header.dataset.key] ?? 4;
  const value = clip[header.dataset.key];
  const textContent = value === null ? "—" : value.toFixed(digits);
  const made = element("td", { className: "number", textContent });
  made.dataset.title = header.dataset.short;
  return made;
}

function row(clip) {
  const made = element("tr", { id: "clip-" + clip.index, tabIndex: -1 });
  for (const header of headers) {
    made.append(cells[header.dataset.key]?.(clip) ?? numberCell(clip, header));
  }
  return made;
}

function show() {
  byId("rows").replaceChildren(...chosen.slice(first, first + PAGE).map(row));
  const last = Math.min(first + PAGE, chosen.length), n = (count) => count.toLocaleString("en");
  const shown = `${n(first + 1)}–${n(last)} of ${n(chosen.length)} clips`;
  byId("status").textContent = (chosen.length ? shown : "No clip matches") +
    (chosen.length < clips.length ? `, of ${n(clips.length)} in all` : "");
  byId("previous").disabled = first === 0;
  byId("next").disabled = last === chosen.length;
  const direction = order.descending ? "descending" : "ascending";
  for (const header of headers) {
    if (header.dataset.key === order.key) header.setAttribute("aria-sort", direction);
    else header.removeAttribute("aria-sort");
  }
}

function sort() {
  const { key, descending } = order, sign = descending ? -1 : 1;
  chosen.sort((a, b) => {
    const [x, y] = [a[key], b[key]];
    // An unknown value comes last in both directions.
    if (x === null || y === null) return (x === null) - (y === null) || a.index - b.index;
    const difference = typeof x === "string" ? collator.compare(x, y) : x - y;
    return sign * difference || a.index - b.index;
  });
}

const isOfKind = {
  "": () => true,
  errors: (clip) => clip.cer > 0 || clip.wer > 0,
  correct: (clip) => !isOfKind.errors(clip),
  problem: (clip) => clip.problem !== null,
};

function filter() {
  const words = folded(byId("search").value).split(/\s+/).filter(Boolean);
  const least = byId("least").valueAsNumber / 100;  // NaN where nothing is typed
  const inKind = isOfKind[byId("kind").value];
  const wanted = filters.filter((select) => select.value);
  const inSlices = (clip) => wanted.every(
    (select) => slices[select.dataset.field].clips[clip.index] === Number(select.value));
  chosen = clips.filter((clip) => inKind(clip) && inSlices(clip) && !(clip.cer < least) &&
    words.every((word) => clip.searched.includes(word)));
  first = 0;
  sort();
  show();
}

function turn(pages) {
  first += pages * PAGE;
  show();
  byId("status").scrollIntoView();
}

function reveal(hash) {
  const clip = clips[/^#clip-(\d+)$/.exec(hash)?.[1]];
  if (!clip) return;
  if (!chosen.includes(clip)) {
    byId("filters").reset();
    setTimeout(reveal, 0, hash);  // once the reset has brought all clips back
    return;
  }
  first = Math.floor(chosen.indexOf(clip) / PAGE) * PAGE;
  show();
  byId("clip-" + clip.index).focus();
}

function sortBy(key) {
  const again = order.key === key, isText = ["id", "reference"].includes(key);
  order = { key, descending: again ? !order.descending : !isText };
  sort();
  first = 0;
  show();
}

for (const header of headers) {
  header.firstElementChild.addEventListener("click", () => sortBy(header.dataset.key));
}
byId("filters").addEventListener("input", filter);
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("filters").addEventListener("reset", () => setTimeout(filter));  // once the fields are empty
byId("previous").addEventListener("click", () => turn(-1));
byId("next").addEventListener("click", () => turn(1));
document.addEventListener("play", (event) => {
  for (const other of document.querySelectorAll("audio")) {
    if (other !== event.target) other.pause();
  }
}, true);
document.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#clip-"]');
  if (link) { event.preventDefault(); reveal(link.hash); }
});
addEventListener("hashchange", () => reveal(location.hash));

const languages = byId("first-languages");
languages?.addEventListener("change", () => {
  for (const map of document.querySelectorAll(".confusions")) {
    map.hidden = map.id !== "confusions-" + languages.value;
  }
});

filter();
reveal(location.hash);
})();
