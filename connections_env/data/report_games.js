// What the list knows of the games: what they are chosen and sorted by, and how one looks at a glance.

const SHOWS = [
  ["all", "All", () => true],
  ["good", "Good", (game) => game.reason === null],
  ["bad", "Bad", (game) => game.reason !== null],
  ["chosen", "Chosen", (game) => game.chosen],
  ["doctored", "Doctored", (game) => game.cut !== 0],
  ["reduced", "Reduced", (game) => game.reduced],
];
// A dataset has taken a game or refused it, whatever became of it when it was played.
const VERDICT_NAMES = {
  results: { good: "Good", bad: "Bad" },
  examples: { good: "Fit", bad: "Refused" },
};
const verdictName = (game, examples) =>
  VERDICT_NAMES[examples ? "examples" : "results"][game.reason === null ? "good" : "bad"];
const collator = new Intl.Collator("en", { numeric: true });
const byNumber = (field, down) => (a, b) => (down ? b[field] - a[field] : a[field] - b[field]) || a.n - b.n;
const SORTS = [
  ["newest", "Newest first", (a, b) => b.n - a.n],
  ["oldest", "Oldest first", (a, b) => a.n - b.n],
  ["puzzle", "Puzzle", (a, b) => collator.compare(a.name, b.name) || a.n - b.n],
  ["reward-down", "Highest reward", byNumber("reward", true)],
  ["reward-up", "Lowest reward", byNumber("reward", false)],
  ["mistakes", "Most mistakes", byNumber("mistakes", true)],
  ["turns", "Most turns", (a, b) => b.statuses.length - a.statuses.length || a.n - b.n],
  ["tokens", "Most tokens", byNumber("tokens", true)],
  ["before", "Most tokens before reduction", (a, b) => (b.before ?? b.tokens) - (a.before ?? a.tokens) || a.n - b.n],
  ["difficulty", "Most difficult", (a, b) => (b.puzzle.difficulty ?? -1) - (a.puzzle.difficulty ?? -1) || a.n - b.n],
];
const STATUS = {
  R: ["correct", "right", "✓"],
  O: ["one_away", "one away", "≈"],
  W: ["incorrect", "wrong", "✕"],
  I: ["invalid", "invalid", "!"],
};

// What the list knows of every game, with what many share put in its place.
function gamesFrom(index) {
  const puzzles = index.puzzles.map(([id, title, difficulty, items, groups, source]) => ({
    id,
    title,
    difficulty,
    items,
    source,
    groups: groups.map(([theme, members, terms]) => ({ theme, members, terms })),
  }));
  const games = index.rows.map((row, n) => {
    const game = Object.fromEntries(index.fields.map((field, at) => [field, row[at]]));
    for (const flag of ["chosen", "reduced", "simulated"]) game[flag] = game[flag] === 1;
    game.n = n;
    game.puzzle = puzzles[game.puzzle];
    game.name = game.puzzle.title || game.puzzle.id;
    game.file = index.files[game.file];
    game.model = index.models[game.model];
    game.reason = game.reason === null ? null : index.reasons[game.reason];
    game.ended = index.endings[game.ended];
    return game;
  });
  games.examples = index.examples;
  return games;
}

// Does the list's text of a game hold this, in lower case? Put together once: that is what takes the time.
function isAbout(game, sought) {
  const { puzzle } = game;
  puzzle.text ??= [puzzle.id, puzzle.title, ...puzzle.items, ...puzzle.groups.map((group) => group.theme)]
    .join("\n")
    .toLowerCase();
  game.text ??= `${game.rollout}\n${game.model}\n${game.file}:${game.line}`.toLowerCase();
  return puzzle.text.includes(sought) || game.text.includes(sought);
}

// A game's tokens: those of the endpoint or of a trainer, as the page has them; before its reduction and after.
function tokensOf(game) {
  const about = game.estimated ? "≈ " : "";
  const told = [
    game.before !== null && `${count(game.before)} before reduction, ${count(game.tokens)} after`,
    game.estimated && "estimated from the length of the replies, which nobody counted",
  ];
  return el(
    "span",
    { class: "number", title: told.filter(Boolean).join("; ") || null },
    el("b", {}, `${about}${game.before === null ? "" : `${brief(game.before)} → `}${brief(game.tokens)}`),
    el("small", {}, game.estimated ? "tokens, estimated" : "tokens"),
  );
}

function saidIn(line) {
  return JSON.parse(line)
    .turns.map((turn) => `${turn.content}\n${turn.beside}\n${turn.feedback}\n${turn.before ?? ""}`)
    .join("\n")
    .toLowerCase();
}

function tagsOf(game) {
  return [
    game.reason !== null && el("em", { class: "tag why" }, visible(game.reason)),
    game.chosen && el("em", { class: "tag chosen", title: "the game that stands for its puzzle" }, "chosen"),
    game.cut !== 0 && el("em", { class: "tag", title: "goes on from a game that was cut" }, "doctored"),
    game.parent !== null && game.cut === 0 && el("em", { class: "tag" }, "resumed"),
    game.reduced && el("em", { class: "tag" }, "reduced"),
    game.simulated && el("em", { class: "tag", title: "the simulated player had a hand in it" }, "simulated"),
    game.ruleset !== "nyt" && el("em", { class: "tag" }, game.ruleset),
  ];
}

// A game at a glance: a square for each guess.
function strip(statuses) {
  const letters = [...statuses];
  const told = letters.map((letter) => STATUS[letter][1]).join(", ");
  const most = letters.length > 12 ? 11 : 12;
  return el(
    "span",
    { class: "strip", role: "img", "aria-label": `Guesses: ${told}` },
    letters.slice(0, most).map((letter) => el("i", { class: STATUS[letter][0] }, STATUS[letter][2])),
    letters.length > most && el("small", {}, `+${letters.length - most}`),
  );
}
