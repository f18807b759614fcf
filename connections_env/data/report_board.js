// The board: found groups as coloured rows with a letter and a pattern, the rest as tiles in the order shown.

const COLOURS = 8;
const letterOf = (index) => String.fromCharCode(65 + (index % 26));

function groupOf(puzzle, item) {
  return puzzle.groups.findIndex((group) => group.members.includes(item));
}

// Widths of characters in the type of a tile, in ems: of the widest common fonts, so that a word is never broken early.
const NARROW = /[IJfijlrt.,:;'’|!()[\]1 ]/;
const WIDE = /[MWmw@%&—]/;
const emsOf = (character) =>
  NARROW.test(character) ? 0.45 : WIDE.test(character) ? 1.1 : character > "\u2e80" ? 1.25 : 0.8;

// The longest word of an item, which its tile keeps in one piece as far as the text stays readable.
function longest(item) {
  const words = item.split(/[\s-]+/).map((word) => [...word].reduce((sum, one) => sum + emsOf(one), 0));
  return Math.max(...words, 2.5);
}

// An item as its tile has it: a single long word may be broken in its middle.
function onTile(item) {
  const letters = /^[\p{L}\d]{9,}$/u.test(item) ? [...item] : [];
  const half = Math.ceil(letters.length / 2);
  const parts = half ? [letters.slice(0, half).join(""), el("wbr"), letters.slice(half).join("")] : visible(item);
  return el("bdi", {}, parts);
}

// The board after `found` groups (indices, in the order found); `guess` are the items of the last guess.
function board(puzzle, found, guess, status, answer) {
  if (!puzzle.items.length) return nothing("This row does not say which board was played.");
  const width = puzzle.groups[0]?.members.length ?? 4;
  const known = new Set(found);
  const left = puzzle.items.filter((item) => !known.has(groupOf(puzzle, item)));
  const guessed = new Set(guess);
  const rows = found.map((index) =>
    banner(puzzle, index, puzzle.groups[index].members.some((item) => guessed.has(item)) && status === "correct"),
  );
  const tiles = left.map((item) => {
    const index = groupOf(puzzle, item);
    const chosen = guessed.has(item);
    const names = ["tile", chosen && `guessed ${status}`, answer && `group-${index % COLOURS}`]
      .filter(Boolean)
      .join(" ");
    const told = [chosen && "guessed", answer && `group ${letterOf(index)}`].filter(Boolean).join(", ");
    return el(
      "li",
      { class: names, style: { "--longest": String(longest(item)) } },
      answer && el("span", { class: "letter", "aria-hidden": "true" }, letterOf(index)),
      onTile(item),
      told && el("span", { class: "unseen" }, ` (${told})`),
    );
  });
  return el(
    "div",
    {
      class: "board",
      style: { "--width": String(width), "--most": String(Math.max(...puzzle.items.map(longest))) },
    },
    rows.length > 0 && el("ul", { class: "found", "aria-label": "Groups found" }, rows),
    tiles.length > 0 && el("ul", { class: "tiles", "aria-label": "Items left" }, tiles),
  );
}

function banner(puzzle, index, fresh) {
  const group = puzzle.groups[index];
  return el(
    "li",
    { class: `banner group-${index % COLOURS}${fresh ? " fresh" : ""}` },
    el("span", { class: "letter", "aria-hidden": "true" }, letterOf(index)),
    el(
      "span",
      { class: "words" },
      el("strong", {}, said(group.theme || `Group ${letterOf(index)}`)),
      el(
        "span",
        {},
        group.members.flatMap((item, n) => [n ? ", " : "", said(item)]),
      ),
    ),
  );
}

function answerOf(puzzle) {
  return el(
    "ul",
    { class: "found" },
    puzzle.groups.map((_, index) => banner(puzzle, index, false)),
  );
}

// Lives as dots: full where one is left. Some rules count no mistakes while many groups are to be found.
function lives(mistakes, allowed, counted) {
  const left = Math.max(allowed - mistakes, 0);
  return el(
    "p",
    { class: "lives" },
    el(
      "span",
      { class: "dots", "aria-hidden": "true" },
      Array.from({ length: allowed }, (_, n) => el("i", { class: n < left ? "left" : "" })),
    ),
    counted ? `${plural(left, "mistake")} left` : "Mistakes do not count yet",
  );
}
