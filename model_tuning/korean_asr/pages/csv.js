// Clips as a CSV file that Excel opens: UTF-8 with its mark, and no cell is a formula.
const csv = (() => {
const FORMULA = /^[\s]*[=+\-@＝＋－＠\t\r\n]/u;

function cell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  // Excel shows the apostrophe of a file and runs nothing.
  const text = (FORMULA.test(value) ? "'" : "") + value;
  const isPlain = !/[",;\t\r\n]/.test(text) && text === text.trim();
  return isPlain ? text : `"${text.replaceAll('"', '""')}"`;
}

function fileOf(rows) {
  return "\ufeff" + rows.map((row) => row.map(cell).join(",") + "\r\n").join("");
}

function save(rows, name) {
  const address = URL.createObjectURL(new Blob([fileOf(rows)], { type: "text/csv" }));
  texts.element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

return { fileOf, save };
})();
