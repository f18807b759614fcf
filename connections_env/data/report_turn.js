// One turn: the verdict on it, the guess, what the player was told, what it thought, and all of it as it came.

const VERDICTS = {
  correct: ["✓", "Right"],
  one_away: ["≈", "One away"],
  incorrect: ["✕", "Wrong"],
  invalid: ["!", "Invalid"],
  themes: ["§", "Themes"],
  late: ["–", "After the end"],
};
const ENDINGS = {
  all_categories_found: "Won: all groups found",
  theme_guessing_complete: "Won: all groups found, themes named",
  max_mistakes: "Lost: no mistake left",
  max_turns_reached: "Unfinished: no turn left",
  prompt_too_long: "Unfinished: the conversation grew too long",
  interrupted: "Unfinished: interrupted",
};
const spaced = (name) => name.replaceAll("_", " ");

function turnOf(view, turn, nth) {
  const [mark] = VERDICTS[turn.status];
  const before = view.game.resumed_after !== null && nth <= view.game.resumed_after;
  const unfit = turn.unfit && turn.unfit !== turn.reason;
  return [
    el(
      "div",
      { class: "turn-head" },
      el("h2", {}, `Turn ${nth}`),
      el("span", { class: `pill ${turn.status}` }, el("span", { "aria-hidden": "true" }, `${mark} `), verdictOf(turn)),
      before && el("span", { class: "pill" }, "of the earlier game"),
      unfit && el("span", { class: "pill unfit" }, "unfit: ", said(spaced(turn.unfit))),
      el(
        "span",
        { class: "tokens" },
        turn.estimated ? `about ${plural(turn.tokens, "token")} (estimated)` : plural(turn.tokens, "token"),
        turn.finish && turn.finish !== "stop" && [", ended by ", said(turn.finish)],
      ),
    ),
    turn.status === "themes" ? themesOf(view) : guessOf(view, turn),
    turn.auto && el("p", { class: "hint" }, "That left one group, which the game completed itself."),
    outcomeOf(view, turn, nth),
    thoughtsOf(view, turn),
    lazily("Raw text", () => raw(turn)),
  ];
}

function guessOf(view, turn) {
  if (!turn.words.length)
    return el(
      "p",
      { class: "hint" },
      turn.status === "late"
        ? "The game was over before this reply."
        : "No guess could be read in this reply.",
    );
  return el(
    "ul",
    { class: "guess", "aria-label": "Guess" },
    turn.words.map((word) => {
      const index = groupOf(view.game.puzzle, word);
      const known = index >= 0 && (turn.status === "correct" || view.answer);
      return el(
        "li",
        { class: known ? `group-${index % COLOURS}` : index < 0 ? "stranger" : "" },
        known && el("span", { class: "letter", "aria-hidden": "true" }, letterOf(index)),
        said(word),
        index < 0 && el("small", {}, "not on the board"),
      );
    }),
  );
}

function themesOf(view) {
  const { themes } = view.text;
  if (!themes) return el("p", { class: "hint" }, "The themes are not recorded.");
  return el(
    "ul",
    { class: "guess", "aria-label": "Themes named" },
    themes.named.map((name, n) =>
      el(
        "li",
        { class: themes.right[n] ? "right" : "stranger" },
        said(name),
        el("small", {}, themes.right[n] ? "right" : "wrong"),
      ),
    ),
  );
}

function outcomeOf(view, turn, nth) {
  if (turn.feedback)
    return el(
      "figure",
      { class: "feedback" },
      el(
        "figcaption",
        {},
        view.text.retold ? "What the player is told here; its own tool said it otherwise" : "What the player was told",
      ),
      el("pre", {}, visible(turn.feedback)),
    );
  const last = nth === view.text.turns.length;
  return last && el("p", { class: "ending" }, ENDINGS[view.game.ended] ?? said(spaced(view.game.ended)), ".");
}

function thoughtsOf(view, turn) {
  const text = (value) =>
    value
      ? el("div", { class: "prose", tabindex: 0, role: "region", "aria-label": "Reasoning" }, visible(value))
      : el("p", { class: "hint" }, "No reasoning in this reply.");
  const details = el("details", { class: "reasoning", open: view.reasoning });
  // A click, not the toggle event: that comes late, when another turn may be shown.
  const summary = (name) => el("summary", { click: () => (view.reasoning = !details.open) }, name);
  if (turn.before === undefined) {
    details.append(summary("Reasoning"), text(turn.reasoning));
    return details;
  }
  const size = (value, tokens) => (tokens ? plural(tokens, "token") : plural(value.length, "character"));
  const head = (label, value, tokens) => el("h3", {}, label, " ", el("small", {}, size(value, tokens)));
  details.append(
    summary("Reasoning, before and after it was reduced"),
    el(
      "div",
      { class: "both" },
      el("div", {}, head("Before", turn.before, turn.beforeTokens), text(turn.before)),
      el("div", {}, head("After", turn.reasoning, turn.beforeTokens && turn.tokens), text(turn.reasoning)),
    ),
  );
  return details;
}

function verdictOf(turn) {
  const [, name] = VERDICTS[turn.status];
  return turn.reason ? `${name}: ${spaced(turn.reason)}` : name;
}

function raw(turn) {
  const part = (name, text) =>
    text && el("figure", { class: "said" }, el("figcaption", {}, name), el("pre", {}, visible(text)));
  return [part("content", turn.content), part("reasoning beside it", turn.beside)];
}

// Folded away, and made only when it is opened.
function lazily(name, content) {
  const details = el("details", { class: "lazy" }, el("summary", {}, name));
  details.addEventListener(
    "toggle",
    () => details.open && details.childElementCount === 1 && details.append(...there([content()])),
  );
  return details;
}
