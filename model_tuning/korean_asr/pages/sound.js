// What is heard: a clip, or one letter of it.
const sound = (() => {
const AROUND_S = 0.1;  // is played before and behind a letter
const LINGER_S = 0.3;  // a letter that has ended stays marked until the next, at most so long
// The player that plays, and where it stops.
let audio = null, until = Infinity;

// Where a clip starts in its file. The address of such a clip ends in #t=start,end.
function offsetOf(player) {
  const at = player.src.lastIndexOf("#t=");
  return at < 0 ? 0 : parseFloat(player.src.slice(at + 3)) || 0;
}

// The row of a clip that holds an element; below it may be the row of its picture.
function rowOf(held) {
  const row = held.closest("tr");
  return row?.classList.contains("drawn") ? row.previousElementSibling : row;
}

function partsOf(row) {
  const below = row.nextElementSibling;
  return below?.classList.contains("drawn") ? [row, below] : [row];
}

function playerOf(row) { return row?.querySelector("audio") ?? null; }

function seek(player, time) {
  player.currentTime = time;
  // Some browsers forget a time that is set before they know the file.
  if (player.readyState === 0) {
    player.addEventListener("loadedmetadata", () => { player.currentTime = time; }, { once: true });
  }
}

// With onwards, playing goes on behind the letter.
function playLetter(letter, onwards) {
  const { from, to } = letter.dataset;
  playPart(rowOf(letter), Number(from), onwards ? Infinity : Number(to));
}

// Seconds of the row's clip.
function playPart(row, from, to) {
  const player = playerOf(row);
  if (!player) return;
  const offset = offsetOf(player);
  audio = player;
  until = offset + to + AROUND_S;
  seek(player, offset + Math.max(0, from - AROUND_S));
  start(player);
}

function playOrPause(row) {
  const player = playerOf(row);
  if (!player) return;
  if (player.paused) start(player);
  else player.pause();
}

function start(player) {
  player.play().catch(() => {});  // The row says when its audio cannot be played.
}

function markLetters(row, time) {
  const marked = new Set();
  const parts = partsOf(row), all = (chosen) => parts.flatMap(
    (part) => [...part.querySelectorAll(chosen)]);
  for (const line of all(".text, .picture [lang]")) {
    const letters = [...line.querySelectorAll("[data-from]")]
      .filter((letter) => Number(letter.dataset.from) <= time);
    const last = letters.at(-1);
    if (last && time <= Number(last.dataset.to) + LINGER_S) marked.add(last);
  }
  for (const letter of all("[data-from]")) {
    letter.classList.toggle("now", marked.has(letter));
  }
}

function watch() {
  const row = audio?.closest("tr");
  if (!row) return;
  const time = audio.currentTime - offsetOf(audio);
  if (audio.paused) {
    markLetters(row, -1);
    return;
  }
  if (audio.currentTime >= until && !audio.seeking) audio.pause();
  markLetters(row, time);
  partsOf(row).at(-1).querySelector(".playhead")
    ?.dispatchEvent(new CustomEvent("time", { detail: time }));
  requestAnimationFrame(watch);
}

document.addEventListener("play", (event) => {
  if (audio !== event.target) [audio, until] = [event.target, Infinity];
  for (const other of document.querySelectorAll("audio")) {
    if (other !== audio) other.pause();
  }
  requestAnimationFrame(watch);
}, true);
document.addEventListener("pause", (event) => {
  if (event.target === audio && audio.paused) until = Infinity;
}, true);
// A page in the background is not drawn, but its audio plays.
document.addEventListener("timeupdate", (event) => {
  if (event.target === audio && audio.currentTime >= until && !audio.seeking) audio.pause();
}, true);
document.addEventListener("click", (event) => {
  const letter = event.target.closest(".letter");
  if (letter) playLetter(letter, event.shiftKey);
});
// Shift and a click select text otherwise.
document.addEventListener("mousedown", (event) => {
  if (event.shiftKey && event.target.closest(".letter")) event.preventDefault();
});

return { playLetter, playOrPause, playPart, rowOf };
})();
