// A game, turn by turn: the board beside what was thought, guessed and told.

class GameView {
  constructor(games, list, rulesets) {
    this.games = games;
    this.list = list;
    this.rulesets = rulesets;
    this.answer = false;
    this.reasoning = true;
    this.byRollout = new Map(games.map((game) => [game.rollout, game]));
    this.went = new Map(); // rollout id -> the games that went on from it
    for (const game of games)
      if (game.parent !== null) this.went.set(game.parent, [...(this.went.get(game.parent) ?? []), game]);
  }

  async open(n, turn) {
    const game = this.games[n];
    if (this.game !== game) {
      const text = JSON.parse((await blockOf(game.block))[game.place]);
      for (const one of text.turns) one.reasoning ??= one.beside;
      this.game = game;
      this.text = text;
      this.frame();
    } else this.besideAt.replaceWith(this.neighbours()); // the list may have been sorted anew
    this.show(Math.min(Math.max(turn, 0), this.text.turns.length));
  }

  frame() {
    const { game, text } = this;
    const step = (label, to, name) =>
      el("button", { type: "button", class: "step", "aria-label": label, click: () => this.go(to()) }, name);
    fill(
      byId("game-view"),
      el("p", { class: "path" }, el("a", { href: "#games" }, "Games"), this.neighbours()),
      el("h1", { id: "game-title", tabindex: -1 }, said(game.name)),
      el(
        "p",
        { class: "lead" },
        el(
          "span",
          { class: `verdict ${game.reason === null ? "good" : "bad"}` },
          verdictName(game, this.games.examples),
        ),
        tagsOf(game),
        el("span", {}, ENDINGS[game.ended] ?? said(spaced(game.ended))),
      ),
      text.note && el("p", { class: "note" }, said(text.note)),
      this.lineage(),
      el(
        "div",
        { class: (game.puzzle.groups[0]?.members.length ?? 4) > 4 ? "playing large" : "playing" },
        el(
          "div",
          { class: "side" },
          el(
            "div",
            { class: "steps", role: "group", "aria-label": "Turns" },
            step("The opening board", () => 0, "«"),
            step("The turn before", () => this.turn - 1, "‹"),
            (this.where = el("span", { class: "where" })),
            step("The turn after", () => this.turn + 1, "›"),
            step("The last turn", () => text.turns.length, "»"),
          ),
          (this.boardAt = el("div", {})),
          el(
            "label",
            { class: "check" },
            (this.answerBox = el("input", {
              type: "checkbox",
              checked: this.answer,
              change: () => this.toggleAnswer(),
            })),
            "Show the answer",
          ),
        ),
        el(
          "div",
          { class: "talk" },
          (this.turnsAt = el("ol", { class: "turns", "aria-label": "Turns" })),
          (this.turnAt = el("div", { class: "turn" })),
        ),
      ),
      this.facts(),
    );
  }

  neighbours() {
    const link = (step, label) => {
      const other = this.list.beside(this.game.n, step);
      return other ? el("a", { href: `#game/${other.n}` }, label) : el("span", { class: "off" }, label);
    };
    return (this.besideAt = el("span", { class: "neighbours" }, link(-1, "Previous"), link(1, "Next")));
  }

  // Where the game comes from, and what came of it.
  lineage() {
    const { game } = this;
    const link = (rollout) => {
      const other = this.byRollout.get(rollout);
      return other
        ? el("a", { href: `#game/${other.n}/${other.statuses.length}` }, said(rollout))
        : said(rollout);
    };
    const lines = [];
    if (game.resumed_after !== null) {
      const cut = cutTold(game.cut);
      lines.push([
        "Goes on from ",
        game.parent === null ? "an earlier game" : link(game.parent),
        ` after turn ${game.resumed_after}.${cut && ` On the way to it ${cut}.`}`,
      ]);
    }
    for (const other of this.went.get(game.rollout) ?? [])
      lines.push([
        `Went on after turn ${other.resumed_after} as `,
        link(other.rollout),
        `, which is ${verdictName(other, this.games.examples).toLowerCase()}.`,
      ]);
    if (game.cut_keeps && !this.went.has(game.rollout))
      lines.push([`If it is cut, ${plural(game.cut_keeps, "turn is", "turns are")} left to go on from.`]);
    return (
      lines.length > 0 &&
      el(
        "div",
        { class: "lineage" },
        lines.map((line) => el("p", {}, line)),
      )
    );
  }

  facts() {
    const { game, text } = this;
    const { usage } = text;
    const seconds = typeof text.timing.seconds === "number" ? `${decimal(text.timing.seconds)} s` : null;
    const rows = [
      ["Puzzle", said(game.puzzle.id)],
      game.puzzle.difficulty !== null && ["Difficulty", decimal(game.puzzle.difficulty)],
      game.puzzle.source && ["Source", said(game.puzzle.source)],
      ["Rules", game.ruleset],
      game.model && ["Model", said(game.model)],
      ["Game", said(game.rollout)],
      ["Where", said(`${game.file}, line ${count(game.line)}`)],
      ["Reward", [decimal(game.reward), partsOf(text)]],
      text.reducer && ["Reduced by", said(text.reducer)],
      usage.requests > 0 && ["Requests", count(usage.requests)],
      ["Tokens of the replies", this.counted()],
      text.completion.length > 0 && ["Tokens of the conversation", this.completion()],
      usage.output > 0 && [
        "Tokens paid for",
        `${count(usage.input)} in (${count(usage.cached)} cached), ` +
          `${count(usage.output)} out (${count(usage.reasoning)} reasoning)` +
          (usage.estimated ? `, ${plural(usage.estimated, "request")} estimated` : ""),
      ],
      text.timing.started && ["Started", said(text.timing.started)],
      seconds && ["Took", seconds],
      Object.keys(text.sampling).length > 0 && ["Sampling", said(JSON.stringify(text.sampling))],
    ];
    return el(
      "section",
      { class: "facts card", "aria-label": "About the game" },
      el("h2", {}, "About the game"),
      el(
        "dl",
        {},
        rows.filter(Boolean).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))),
      ),
      lazily(text.retold ? "What the player is told here at the start" : "What the player was told at the start", () =>
        text.prompt.map((message) =>
          el("figure", { class: "said" }, el("figcaption", {}, message.role), el("pre", {}, visible(message.content))),
        ),
      ),
      lazily("Answer", () => answerOf(game.puzzle)),
    );
  }

  // All that is said after the prompt, as a trainer counts it, before the reduction and after.
  completion() {
    const [first, last] = this.text.completion.map(count);
    return last === undefined ? first : `${first} before reduction, ${last} after`;
  }

  // How the tokens of the replies were counted.
  counted() {
    const { turns, counted } = this.text;
    const sum = count(turns.reduce((all, turn) => all + turn.tokens, 0));
    const guessed = turns.filter((turn) => turn.estimated).length;
    if (counted) return [`${sum}, as a trainer counts them (`, said(counted), ")"];
    const which = guessed === turns.length ? "" : `${count(guessed)} of ${plural(turns.length, "reply", "replies")} `;
    if (guessed) return `about ${sum}, ${which}estimated from their length`;
    return turns.length ? `${sum}, as the endpoint counted them` : "unknown";
  }

  go(turn) {
    const to = Math.min(Math.max(turn, 0), this.text.turns.length);
    if (to !== this.turn) history.replaceState(null, "", `#game/${this.game.n}/${to}`);
    this.show(to);
  }

  show(turn) {
    const { game, text } = this;
    this.turn = turn;
    const now = turn ? text.turns[turn - 1] : null;
    const mistakes = now ? now.mistakes : 0;
    const rules = this.rulesets[game.ruleset];
    const allowed = rules.mistakes_allowed;
    const toFind = game.puzzle.groups.length - (now ? now.found.length : 0);
    const counted = rules.mistakes_count_from === null || toFind <= rules.mistakes_count_from;
    this.where.textContent = turn ? `Turn ${turn} of ${text.turns.length}` : "Opening board";
    fill(
      this.boardAt,
      board(game.puzzle, now ? now.found : [], now ? now.words : [], now ? now.status : "", this.answer),
      lives(mistakes, allowed, counted),
    );
    this.drawTurns();
    const reading = this.turnAt.contains(document.activeElement);
    fill(this.turnAt, now ? turnOf(this, now, turn) : this.openingOf());
    if (reading) (this.turnAt.querySelector("[tabindex='0'], button, summary") ?? byId("game-title")).focus();
    announce(this.toldOf(now, turn, mistakes, allowed));
  }

  toldOf(now, turn, mistakes, allowed) {
    if (!now) return `Opening board, ${plural(this.game.puzzle.items.length, "item")}.`;
    const guess = now.words.length ? ` Guess: ${plain(now.words.join(", "))}.` : "";
    return `Turn ${turn} of ${this.text.turns.length}.${guess} ${verdictOf(now)}. ${mistakes} of ${allowed} mistakes.`;
  }

  drawTurns() {
    const { text } = this;
    const chip = (nth, mark, label, status) =>
      el(
        "li",
        {},
        el(
          "button",
          {
            type: "button",
            class: `chip ${status}`,
            "aria-current": nth === this.turn ? "step" : null,
            "aria-label": label,
            click: () => this.go(nth),
          },
          el("b", {}, nth ? String(nth) : "Start"),
          mark && el("span", { "aria-hidden": "true" }, mark),
        ),
      );
    const chips = [chip(0, "", "Opening board", "opening")];
    const seams = new Map(text.seams.map((seam) => [seam.after, seam]));
    text.turns.forEach((turn, n) => {
      const seam = seams.get(n);
      const where = seam && (seam.last ? "resumed here" : "resumed here by an earlier game");
      if (seam)
        chips.push(
          el(
            "li",
            { class: "seam", title: cutTold(seam.cut) || "nothing was cut off" },
            el("span", {}, where, cutTold(seam.cut) && el("small", {}, `, ${cutTold(seam.cut)}`)),
          ),
        );
      chips.push(chip(n + 1, VERDICTS[turn.status][0], `Turn ${n + 1}: ${verdictOf(turn)}`, turn.status));
    });
    const focused = this.turnsAt.contains(document.activeElement);
    fill(this.turnsAt, chips);
    if (focused) this.turnsAt.querySelector("[aria-current=step]").focus();
  }

  openingOf() {
    const turns = this.text.turns.length;
    const hint = turns
      ? "The board as the player was shown it. The arrow keys go through the turns."
      : "This row holds no reply to show.";
    return [el("h2", {}, "Opening board"), el("p", { class: "hint" }, hint)];
  }

  toggleAnswer(to = this.answerBox.checked) {
    this.answer = to;
    this.answerBox.checked = to;
    this.show(this.turn);
  }

  toggleReasoning() {
    const details = this.turnAt.querySelector("details.reasoning");
    if (details) details.open = this.reasoning = !details.open;
  }
}

// How many replies were cut off; null where another tool did not write it down.
function cutTold(number) {
  if (number === null) return "some replies were cut off";
  return number ? `${plural(number, "reply was", "replies were")} cut off` : "";
}

// What a reward is made of, where it is what the replay gives.
function partsOf(text) {
  const parts = Object.entries(text.parts).map(([name, part]) => `${spaced(name)} ${decimal(part)}`);
  return parts.length > 0 && el("small", {}, ` (${parts.join(", ")})`);
}
