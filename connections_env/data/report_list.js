// The list: chosen, sorted and shown a page at a time, so that ten thousand games are as quick as ten.

const PAGE = 50;

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
    const named = (field) =>
      [...new Set(this.games.map((game) => game[field]))].filter((name) => name !== null && name !== "");
    const select = (name, label, options) =>
      el(
        "label",
        { class: "choice" },
        el("span", {}, label),
        (this[name] = el(
          "select",
          { change: () => this.update() },
          options.map(([value, text]) => el("option", { value }, plain(text))),
        )),
      );
    const many = (name, label, values) => {
      const options = [["", "Any"], ...values.map((value) => [value, value])];
      const choice = select(name, label, options);
      choice.hidden = values.length < 2 && name !== "reason";
      return choice;
    };
    const shows = SHOWS.map(([value, label, test]) => [
      value,
      VERDICT_NAMES[this.games.examples ? "examples" : "results"][value] ?? label,
      this.games.filter(test).length,
    ]).filter(
      ([value, , number]) => number || value === "all",
    );
    const reduced = this.games.some((game) => game.before !== null);
    this.show = "all";
    return el(
      "form",
      {
        class: "toolbar",
        role: "search",
        submit: (event) => {
          event.preventDefault();
          this.update();
        },
      },
      el(
        "div",
        { class: "searching" },
        (this.search = el("input", {
          type: "search",
          id: "search",
          "aria-label": "Search the games",
          placeholder: "Puzzle, word, theme, id, model",
          autocomplete: "off",
          spellcheck: "false",
          input: () => this.update(),
        })),
        el(
          "label",
          { class: "check" },
          (this.deep = el("input", { type: "checkbox", id: "deep", change: () => this.update() })),
          "in the replies too",
        ),
      ),
      el(
        "fieldset",
        { class: "shows" },
        el("legend", { class: "unseen" }, "Show"),
        shows.map(([value, label, number]) =>
          el(
            "label",
            {},
            el("input", {
              type: "radio",
              name: "show",
              value,
              checked: value === "all",
              change: () => {
                this.show = value;
                this.update();
              },
            }),
            el("span", {}, `${label} `, el("small", {}, count(number))),
          ),
        ),
      ),
      el(
        "div",
        { class: "choices" },
        many("reason", "Reason", named("reason").sort()),
        many("model", "Model", named("model").sort()),
        many("file", "File", named("file")),
        select("sort", "Sort", reduced ? SORTS : SORTS.filter(([value]) => value !== "before")),
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
        test(game) &&
        is("reason", game) &&
        is("model", game) &&
        is("file", game) &&
        (!sought || isAbout(game, sought) || (this.inText?.has(game.n) ?? false)),
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
    const turn = (label, page) =>
      el(
        "button",
        {
          type: "button",
          disabled: page < 0 || page >= pages,
          click: () => {
            this.page = page;
            this.draw();
            byId("games-title").focus();
            window.scrollTo(0, 0);
          },
        },
        label,
      );
    this.pager.hidden = pages < 2;
    fill(
      this.pager,
      turn("First", this.page ? 0 : -1),
      turn("Previous", this.page - 1),
      el("span", {}, `${count(this.page + 1)} of ${count(pages)}`),
      turn("Next", this.page + 1),
      turn("Last", this.page < pages - 1 ? pages - 1 : pages),
    );
  }

  row(game) {
    const meta = [`${game.file}:${game.line}`, game.model, game.puzzle.title ? game.puzzle.id : ""].filter(Boolean);
    return el(
      "li",
      {},
      el(
        "a",
        { class: "game", href: `#game/${game.n}` },
        el(
          "span",
          { class: `verdict ${game.reason === null ? "good" : "bad"}` },
          verdictName(game, this.games.examples),
        ),
        el("span", { class: "title" }, said(game.name, { class: "name" }), el("small", {}, said(meta.join(" · ")))),
        el("span", { class: "tags" }, tagsOf(game)),
        strip(game.statuses),
        el("span", { class: "number" }, el("b", {}, decimal(game.reward)), el("small", {}, "reward")),
        el(
          "span",
          { class: "number" },
          el("b", {}, count(game.mistakes)),
          el("small", {}, game.mistakes === 1 ? "mistake" : "mistakes"),
        ),
        tokensOf(game),
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
