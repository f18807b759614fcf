// The list: chosen, sorted and shown a page at a time, so that ten thousand games are as quick as ten.

const PAGE = 50;
const SHOWS = [
  ["all", "All", () => true],
  ["good", "Good", (game) => game.reason === null],
  ["bad", "Bad", (game) => game.reason !== null],
  ["chosen", "Chosen", (game) => game.chosen],
  ["doctored", "Doctored", (game) => game.cut > 0],
  ["reduced", "Reduced", (game) => game.reduced],
];
const byNumber = (field, down) => (a, b) => (down ? b[field] - a[field] : a[field] - b[field]) || a.n - b.n;
const SORTS = [
  ["newest", "Newest first", (a, b) => b.n - a.n],
  ["oldest", "Oldest first", (a, b) => a.n - b.n],
  ["puzzle", "Puzzle", (a, b) => a.name.localeCompare(b.name, "en", { numeric: true }) || a.n - b.n],
  ["reward-down", "Highest reward", byNumber("reward", true)],
  ["reward-up", "Lowest reward", byNumber("reward", false)],
  ["mistakes", "Most mistakes", byNumber("mistakes", true)],
  ["turns", "Most turns", (a, b) => b.statuses.length - a.statuses.length || a.n - b.n],
  ["tokens", "Most tokens", byNumber("tokens", true)],
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
  return index.rows.map((row, n) => {
    const game = Object.fromEntries(index.fields.map((field, at) => [field, row[at]]));
    for (const flag of ["chosen", "won", "reduced", "simulated"]) game[flag] = game[flag] === 1;
    game.n = n;
    game.puzzle = puzzles[game.puzzle];
    game.name = game.puzzle.title || game.puzzle.id;
    game.file = index.files[game.file];
    game.model = index.models[game.model];
    game.reason = game.reason === null ? null : index.reasons[game.reason];
    game.ended = index.endings[game.ended];
    return game;
  });
}

function textOf(game) {
  const { puzzle } = game;
  puzzle.text ??= [puzzle.id, puzzle.title, ...puzzle.items, ...puzzle.groups.map((group) => group.theme)].join("\n").toLowerCase();
  return `${puzzle.text}\n${game.rollout}\n${game.model}\n${game.file}:${game.line}`.toLowerCase();
}

class List {
  constructor(games) {
    this.games = games;
    this.page = 0;
    this.found = games;
    this.inText = null; // the games that say what is sought, once they have been read through
    this.reading = 0;
    fill(
      byId("games-view"),
      el("h1", { id: "games-title", tabindex: -1 }, "Games"),
      this.toolbar(),
      (this.summary = el("p", { class: "summary", role: "status" })),
      (this.list = el("ol", { class: "games", "aria-label": "Games" })),
      (this.pager = el("nav", { class: "pager", "aria-label": "Pages of the list" })),
    );
    this.list.addEventListener("keydown", (event) => this.walk(event));
    this.update();
  }

  toolbar() {
    const named = (field) => [...new Set(this.games.map((game) => game[field]))].filter((name) => name !== null && name !== "");
    const select = (name, label, options) =>
      el("label", { class: "choice" }, el("span", {}, label), (this[name] = el("select", { change: () => this.update() }, options.map(([value, text]) => el("option", { value }, text)))));
    const many = (name, label, values) => {
      const options = [["", "Any"], ...values.map((value) => [value, value])];
      const choice = select(name, label, options);
      choice.hidden = values.length < 2 && name !== "reason";
      return choice;
    };
    const shows = SHOWS.map(([value, label, test]) => [value, label, this.games.filter(test).length]).filter(([value, , number]) => number || value === "all");
    this.show = "all";
    return el(
      "form",
      { class: "toolbar", role: "search", submit: (event) => { event.preventDefault(); this.update(); } },
      el(
        "div",
        { class: "searching" },
        (this.search = el("input", { type: "search", id: "search", "aria-label": "Search the games", placeholder: "Puzzle, word, theme, id, model", autocomplete: "off", spellcheck: "false", input: () => this.update() })),
        el("label", { class: "check" }, (this.deep = el("input", { type: "checkbox", id: "deep", change: () => this.update() })), "in the replies too"),
      ),
      el(
        "fieldset",
        { class: "shows" },
        el("legend", { class: "unseen" }, "Show"),
        shows.map(([value, label, number]) =>
          el("label", {}, el("input", { type: "radio", name: "show", value, checked: value === "all", change: () => { this.show = value; this.update(); } }), el("span", {}, `${label} `, el("small", {}, count(number)))),
        ),
      ),
      el(
        "div",
        { class: "choices" },
        many("reason", "Reason", named("reason").sort()),
        many("model", "Model", named("model").sort()),
        many("file", "File", named("file")),
        select("sort", "Sort", SORTS),
      ),
    );
  }

  // Chooses and sorts anew. Reading through what was said takes a moment, so it goes on beside.
  update() {
    const sought = this.search.value.trim().toLowerCase();
    this.reading += 1;
    this.inText = null;
    if (sought && this.deep.checked) this.readThrough(sought, this.reading);
    this.choose(sought);
  }

  choose(sought) {
    const test = SHOWS.find(([value]) => value === this.show)[2];
    const order = SORTS.find(([value]) => value === this.sort.value)[2];
    const is = (field, game) => !this[field].value || game[field] === this[field].value;
    this.found = this.games.filter(
      (game) =>
        test(game) && is("reason", game) && is("model", game) && is("file", game) &&
        (!sought || textOf(game).includes(sought) || (this.inText?.has(game.n) ?? false)),
    );
    this.found.sort(order);
    this.page = 0;
    this.draw();
  }

  async readThrough(sought, turn) {
    const blocks = new Map();
    for (const game of this.games) blocks.set(game.block, [...(blocks.get(game.block) ?? []), game]);
    const inText = new Set();
    const plain = /^[\x20-\x7e]+$/.test(sought) && !/["\\]/.test(sought); // stands in JSON as it is
    for (const [block, games] of blocks) {
      const lines = (await unpacked(`block-${block}`)).split("\n");
      if (turn !== this.reading) return;
      for (const game of games) {
        const line = lines[game.place];
        if ((!plain || line.toLowerCase().includes(sought)) && saidIn(line).includes(sought)) inText.add(game.n);
      }
      this.summary.textContent = `Reading… ${plural(inText.size, "game")} so far`;
    }
    this.inText = inText;
    this.choose(sought);
  }

  draw() {
    const { found } = this;
    const pages = Math.max(Math.ceil(found.length / PAGE), 1);
    this.page = Math.min(this.page, pages - 1);
    const from = this.page * PAGE;
    const shown = found.slice(from, from + PAGE);
    const which = pages > 1 ? `, ${count(from + 1)} to ${count(from + shown.length)}` : "";
    this.summary.textContent = found.length ? `${plural(found.length, "game")}${which}` : "";
    const none = this.games.length ? "No game is like that. Take a filter away." : "There are no games yet.";
    fill(this.list, shown.length ? shown.map((game) => this.row(game)) : el("li", { class: "nothing" }, none));
    const turn = (label, page) => el("button", { type: "button", disabled: page < 0 || page >= pages, click: () => { this.page = page; this.draw(); byId("games-title").focus(); window.scrollTo(0, 0); } }, label);
    this.pager.hidden = pages < 2;
    fill(this.pager, turn("First", this.page ? 0 : -1), turn("Before", this.page - 1), el("span", {}, `${count(this.page + 1)} of ${count(pages)}`), turn("After", this.page + 1), turn("Last", this.page < pages - 1 ? pages - 1 : pages));
  }

  row(game) {
    const meta = [`${game.file}:${game.line}`, game.model, game.puzzle.title ? game.puzzle.id : ""].filter(Boolean);
    return el(
      "li",
      {},
      el(
        "a",
        { class: "game", href: `#game/${game.n}` },
        el("span", { class: `verdict ${game.reason === null ? "good" : "bad"}` }, game.reason === null ? "Good" : "Bad"),
        el("span", { class: "title" }, said(game.name, { class: "name" }), el("small", {}, said(meta.join(" · ")))),
        el("span", { class: "tags" }, tagsOf(game)),
        strip(game.statuses),
        el("span", { class: "number" }, el("b", {}, decimal(game.reward)), el("small", {}, "reward")),
        el("span", { class: "number" }, el("b", {}, count(game.mistakes)), el("small", {}, game.mistakes === 1 ? "mistake" : "mistakes")),
        el("span", { class: "number" }, el("b", {}, brief(game.tokens)), el("small", {}, "tokens")),
      ),
    );
  }

  walk(event) {
    const links = [...this.list.querySelectorAll("a.game")];
    const to = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const next = links[links.indexOf(document.activeElement) + to];
    if (!to || !next) return;
    event.preventDefault();
    next.focus();
  }

  // The game after this one in the list, or before it; null at its ends.
  beside(n, step) {
    const at = this.found.findIndex((game) => game.n === n);
    return at < 0 ? null : (this.found[at + step] ?? null);
  }
}

function saidIn(line) {
  return JSON.parse(line).turns.map((turn) => `${turn.content}\n${turn.beside}\n${turn.feedback}\n${turn.before ?? ""}`).join("\n").toLowerCase();
}

function tagsOf(game) {
  return [
    game.reason !== null && el("em", { class: "tag why" }, visible(game.reason)),
    game.chosen && el("em", { class: "tag chosen", title: "the game that stands for its puzzle" }, "chosen"),
    game.cut > 0 && el("em", { class: "tag", title: "goes on from a game that was cut" }, "doctored"),
    game.parent !== null && game.cut === 0 && el("em", { class: "tag" }, "resumed"),
    game.reduced && el("em", { class: "tag" }, "reduced"),
    game.ruleset !== "nyt" && el("em", { class: "tag" }, game.ruleset),
  ];
}

// A game at a glance: a square for each guess.
function strip(statuses) {
  const letters = [...statuses];
  const told = letters.map((letter) => STATUS[letter][1]).join(", ");
  const most = 12;
  return el(
    "span",
    { class: "strip", role: "img", "aria-label": `Guesses: ${told}` },
    letters.slice(0, most).map((letter) => el("i", { class: STATUS[letter][0] }, STATUS[letter][2])),
    letters.length > most && el("small", {}, `+${letters.length - most}`),
  );
}
