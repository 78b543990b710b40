// The page: its table of clips, and what chooses and orders them.
(() => {
const { element, seen, small } = texts;
const PAGE = 50;  // clips shown at a time, each with a player
const byId = (id) => document.getElementById(id);
// columns: a list for each name, such as columns.cer[index of a clip].
// others: of each other model its name, and columns.
const { columns, slices, others, pictures: drawings } = JSON.parse(byId("data").textContent);
const headers = [...document.querySelectorAll("#clips thead th")];
const filters = [...document.querySelectorAll("#filters select[data-field]")];
const collator = new Intl.Collator("ko", { numeric: true });
const clips = columns.id.map((_, index) => clipAt(index));
// Says where a table or a picture is wider than its room.
const overflow = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    target.classList.toggle("scrolls", target.scrollWidth > target.clientWidth + 1);
  }
});
let chosen = clips, first = 0, order = { key: "cer", descending: true };

function clipAt(index) {
  const clip = { index };
  for (const name in columns) clip[name] = columns[name][index];
  clip.manyPieces = [clip.pieces, ...others.map((other) => other.pieces[index])];
  clip.manyLetters = [clip.letters, ...others.map((other) => other.letters[index])];
  clip.reference = texts.textOf(clip.pieces, 0);
  clip.hypotheses = clip.manyPieces.map((pieces) => texts.textOf(pieces, 1));
  others.forEach((other, i) => { clip["cer-" + (i + 1)] = other.cer[index]; });
  return clip;
}

// Made when it is first searched, so that a page of many clips opens sooner.
function searchedIn(clip) {
  clip.searched ??= texts.folded([clip.id, clip.reference, ...clip.hypotheses].join("\n"));
  return clip.searched;
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
    const lines = linesOf(clip), canPlay = Boolean(clip.audio);
    const shown = element("div", { className: "lines" });
    for (const { name, characters, letters, side } of lines) {
      shown.append(small(name), texts.shownLine(characters, letters, side, canPlay));
    }
    const problem = clip.problem && element("p", { className: "badge" }, seen(clip.problem));
    return element("td", {}, shown, problem, clip.audio && player(clip));
  },
};

// The reference, then the text of each model.
function linesOf(clip) {
  return texts.aligned(clip.manyPieces).map((characters, number) => {
    const side = number ? 1 : 0, codes = clip.manyLetters[Math.max(0, number - 1)]?.[side];
    const model = others.length ? modelName(number) : "hyp";
    return {
      name: number ? model : "ref",
      characters,
      letters: codes ? texts.lettersOf(codes, side) : null,
      side,
    };
  });
}

function modelName(number) { return String.fromCodePoint(64 + number); }

// A row of its own, as wide as the table.
function drawnRow(clip) {
  const picture = drawings[clip.index];
  if (!picture) return [];
  const timed = linesOf(clip).map((line) => ({
    ...line,
    letters: line.letters ?? [],
    characters: line.characters
      .filter(([kind, character]) => kind !== "gap" && character !== " ")
      .map(([, character]) => character),
  }));
  const made = pictures.shown(clip.id, picture, timed, Boolean(clip.audio));
  overflow.observe(made);
  const cell = element("td", { colSpan: headers.length }, made);
  return [element("tr", { className: "drawn" }, cell)];
}

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
  byId("rows").replaceChildren(...chosen.slice(first, first + PAGE)
    .flatMap((clip) => [row(clip), ...drawnRow(clip)]));
  const last = Math.min(first + PAGE, chosen.length), n = (count) => count.toLocaleString("en");
  const shown = `${n(first + 1)}–${n(last)} of ${n(chosen.length)} clips`;
  byId("status").textContent = (chosen.length ? shown : "No clip matches") +
    (chosen.length < clips.length ? `, of ${n(clips.length)} in all` : "");
  byId("previous").disabled = first === 0;
  byId("next").disabled = last === chosen.length;
  byId("save").disabled = !chosen.length;
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

// How the page's own model did beside the others.
const isOfComparison = {
  "": () => true,
  differ: (clip) => clip.hypotheses.some((text) => text !== clip.hypotheses[0]),
  better: (clip) => others.every((other) => clip.cer < other.cer[clip.index]),
  worse: (clip) => others.some((other) => clip.cer > other.cer[clip.index]),
};

function filter() {
  const words = texts.folded(byId("search").value).split(/\s+/).filter(Boolean);
  const least = byId("least").valueAsNumber / 100;  // NaN where nothing is typed
  const inKind = isOfKind[byId("kind").value];
  const inComparison = isOfComparison[byId("comparison")?.value ?? ""];
  const wanted = filters.filter((select) => select.value);
  const inSlices = (clip) => wanted.every(
    (select) => slices[select.dataset.field].clips[clip.index] === Number(select.value));
  chosen = clips.filter((clip) => inKind(clip) && inComparison(clip) && inSlices(clip) &&
    !(clip.cer < least) && words.every((word) => searchedIn(clip).includes(word)));
  first = 0;
  sort();
  show();
}

function turn(pages) {
  first += pages * PAGE;
  show();
  byId("status").scrollIntoView();
}

// A link to a syllable plays it.
function reveal(hash, syllable = {}) {
  const clip = clips[/^#clip-(\d+)$/.exec(hash)?.[1]];
  if (!clip) return;
  if (!chosen.includes(clip)) {
    byId("filters").reset();
    setTimeout(reveal, 0, hash, syllable);  // once the reset has brought all clips back
    return;
  }
  first = Math.floor(chosen.indexOf(clip) / PAGE) * PAGE;
  show();
  const row = byId("clip-" + clip.index);
  row.focus();
  if (syllable.start) sound.playPart(row, Number(syllable.start), Number(syllable.end));
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
document.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#clip-"]');
  if (link) { event.preventDefault(); reveal(link.hash, link.dataset); }
});
addEventListener("hashchange", () => reveal(location.hash));

// What is chosen, all pages of it, in its order.
function save() {
  const { file, model } = byId("save").dataset, fields = Object.keys(slices);
  const models = [model, ...others.map((other) => other.name)];
  const named = (what) => models.map(
    (name, i) => others.length ? `${what} ${modelName(i + 1)}: ${name}` : what);
  const head = ["id", "reference", ...named("hypothesis"), ...named("cer"), "wer", "seconds",
    "confidence", "problem", ...fields];
  const rows = chosen.map((clip) => [
    clip.id, clip.reference, ...clip.hypotheses,
    clip.cer, ...others.map((other) => other.cer[clip.index]),
    clip.wer, clip.duration, clip.confidence, clip.problem,
    ...fields.map((field) => slices[field].values[slices[field].clips[clip.index]]),
  ]);
  csv.save([head, ...rows], file);
}
byId("save").addEventListener("click", save);

// Keys: j and k go through the clips, space plays; in a line, arrows go through the letters.
let current = null;  // the clip that was reached last

function step(by) {
  const at = chosen.indexOf(current), index = at < 0 ? first : at + by;
  if (index < 0 || index >= chosen.length) return;
  const page = Math.floor(index / PAGE) * PAGE;
  if (page !== first) {
    first = page;
    show();
  }
  const reached = byId("clip-" + chosen[index].index);
  reached.focus({ preventScroll: true });
  reached.scrollIntoView({ block: "nearest" });
}

function stepLetter(letter, by) {
  const letters = [...letter.closest(".text").querySelectorAll("[role=button]")];
  const next = letters[letters.indexOf(letter) + by];
  if (!next) return;
  letter.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}

// With a Korean keyboard the keys write ㅓ and ㅏ.
function keyOf(event) {
  return { ㅓ: "j", ㅏ: "k" }[event.key] ?? { KeyJ: "j", KeyK: "k" }[
    event.key === "Process" ? event.code : ""] ?? event.key;
}

const ofLetter = {
  ArrowLeft: (letter) => stepLetter(letter, -1),
  ArrowRight: (letter) => stepLetter(letter, 1),
  Enter: (letter, event) => sound.playLetter(letter, event.shiftKey),
  " ": (letter, event) => sound.playLetter(letter, event.shiftKey),
};
const ofClip = {
  j: () => step(1),
  k: () => step(-1),
  " ": () => sound.playOrPause(current && byId("clip-" + current.index)),
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, select, textarea")) return;
  const letter = event.target.closest("[role=button].letter"), key = keyOf(event);
  let act = letter && ofLetter[key];
  // Space presses a button and scrolls where no clip was reached.
  const own = event.target.closest("button, a, audio, summary");
  if (!act && !(key === " " && (own || !current))) act = ofClip[key];
  if (!act) return;
  event.preventDefault();
  act(letter, event);
}
document.addEventListener("keydown", onKey);
byId("rows").addEventListener("focusin", (event) => {
  current = clips[sound.rowOf(event.target).id.slice("clip-".length)];
});
byId("rows").addEventListener("click", (event) => {
  const clicked = sound.rowOf(event.target);
  if (clicked) current = clips[clicked.id.slice("clip-".length)];
});

const languages = byId("first-languages");
languages?.addEventListener("change", () => {
  for (const map of document.querySelectorAll(".confusions")) {
    map.hidden = map.id !== "confusions-" + languages.value;
  }
});

for (const wide of document.querySelectorAll(".wide")) overflow.observe(wide);
filter();
reveal(location.hash);
})();
