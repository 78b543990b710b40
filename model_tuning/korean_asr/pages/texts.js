"use strict";
// Texts of clips as elements. Text from the data only ever becomes a text node or a property.
const texts = (() => {
// Characters that no font shows are written as their code, as in the rest of the page.
const UNSEEN = /(?! )[\p{C}\p{Z}\u034f\u115f\u1160\u2800\u3164\uffa0\ufe00-\ufe0f]/gu;
// clips.py: times are hundredths of a second; listener's scores hundredths, posteriors thousandths.
const TIME_UNIT = 100, UNITS = [100, 1000];
// Listener's scores below these are shaded, each step darker.
const STEPS = [2, 0, -2];

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

function folded(text) { return text.normalize("NFC").toLowerCase(); }

// A piece is a string where both texts are equal, else [reference, hypothesis].
function textOf(pieces, side) {
  return pieces.map((piece) => typeof piece === "string" ? piece : piece[side]).join("");
}

// Letters with their times in seconds, and a score (side 0) or a posterior (side 1); null for a
// letter without them. clips.coded_letters says what the numbers are.
function lettersOf(codes, side) {
  const letters = [];
  let end = 0;
  for (let i = 0; i < codes.length; i += 1) {
    if (codes[i] === null) {
      letters.push(null);
      continue;
    }
    const from = end + codes[i];
    end = from + codes[i + 1];
    i += 2;
    letters.push({ from: from / TIME_UNIT, to: end / TIME_UNIT, value: codes[i] / UNITS[side] });
  }
  return letters;
}

// What became of each character of the reference, and what was written before it.
function heardIn(pieces) {
  const heard = [], inserted = [[]];
  const add = (text) => { heard.push(text); inserted.push([]); };
  for (const piece of pieces) {
    const [reference, hypothesis] = (typeof piece === "string" ? [piece, piece] : piece)
      .map((text) => [...text]);
    if (reference.length) reference.forEach((_, i) => add(hypothesis[i] ?? ""));
    else inserted.at(-1).push(...hypothesis);
  }
  return { heard, inserted };
}

// The reference and the text of each model as [kind, character], such as ["mark", "가"]. What only
// another line has is a gap, so that equal characters stand below each other in all lines.
function aligned(manyPieces) {
  const reference = [...textOf(manyPieces[0], 0)];
  const models = manyPieces.map(heardIn), lines = [[], ...models.map(() => [])];
  const put = (line, kind, characters) => {
    for (const character of characters) lines[line].push([kind, character]);
  };
  for (let i = 0; i <= reference.length; i += 1) {
    const widest = models.map((model) => model.inserted[i])
      .reduce((a, b) => a.length < b.length ? b : a);
    put(0, "gap", widest);
    models.forEach((model, m) => {
      put(m + 1, "ins", model.inserted[i]);
      put(m + 1, "gap", widest.slice(model.inserted[i].length));
    });
    if (i === reference.length) break;
    // The reference is marked by what the page's own model wrote.
    put(0, kindOf(reference[i], models[0].heard[i], "del"), [reference[i]]);
    models.forEach((model, m) => {
      const kind = kindOf(reference[i], model.heard[i], "gap");
      put(m + 1, kind, [kind === "gap" ? reference[i] : model.heard[i]]);
    });
  }
  return lines;
}

function kindOf(said, heard, absent) {
  if (heard === "") return absent;
  return heard === said ? "" : "mark";
}

// One of the lines. letters: of its characters but spaces, or null.
function shownLine(characters, letters, side, canPlay) {
  const made = element("span", { className: "text", lang: "ko" });
  if (!characters.some(([kind]) => kind !== "gap")) {
    made.textContent = "—";
    return made;
  }
  let n = 0;
  for (let i = 0; i < characters.length;) {
    const kind = characters[i][0], run = kind ? runOf(kind) : document.createDocumentFragment();
    let plain = "";
    for (; i < characters.length && characters[i][0] === kind; i += 1) {
      const character = characters[i][1];
      const letter = kind === "gap" || character === " " ? null : letters?.[n++];
      if (letter === null || letter === undefined) {
        plain += kind ? character.replace(" ", "␣") : character;
        continue;
      }
      run.append(seen(plain), shownLetter(character, letter, side, canPlay));
      plain = "";
    }
    run.append(seen(plain));
    made.append(run);
  }
  made.classList.toggle("scored", Boolean(letters) && side === 0);
  const first = made.querySelector("[role=button]");
  if (first) first.tabIndex = 0;
  return made;
}

function runOf(kind) {
  if (kind === "gap") return element("span", { className: "gap", ariaHidden: "true" });
  return element(kind, {});
}

// Scores that are shaded alike: 0 is not shaded.
function shadeOf(score) { return STEPS.filter((step) => score < step).length; }

function titleOf(character, letter, side) {
  const shown = element("span", {}, seen(character)).textContent;
  const value = side ? "posterior " + letter.value.toFixed(3)
    : "listener's score " + letter.value.toFixed(2).replace("-", "−");
  return `${shown} · ${letter.from.toFixed(2)}–${letter.to.toFixed(2)} s · ${value}`;
}

// Of a line only the letter that was reached last is on the way of the Tab key.
function shownLetter(character, letter, side, canPlay) {
  const made = element("span", { className: "letter", title: titleOf(character, letter, side) });
  made.append(seen(character));
  made.dataset.from = letter.from;
  made.dataset.to = letter.to;
  if (side === 0) made.dataset.shade = shadeOf(letter.value);
  if (canPlay) Object.assign(made, { role: "button", tabIndex: -1 });
  return made;
}

return { aligned, element, folded, lettersOf, seen, shadeOf, shownLine, small, textOf, titleOf };
})();
