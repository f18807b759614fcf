// The overview: what all games say together. Every figure was counted when the page was written.

const STANDINGS = [
  ["good", "Good"],
  ["salvageable", "Salvageable"],
  ["unsalvageable", "Unsalvageable"],
  ["missing", "Missing"],
];

function showOverview(all, games) {
  fill(
    byId("overview-view"),
    el("h1", { id: "overview-title", tabindex: -1 }, "Overview"),
    el("p", { class: "lead" }, lead(all)),
    standing(all),
    el("dl", { class: "figures" }, figures(all)),
    leftOut(all, games),
    el(
      "div",
      { class: "cards" },
      !all.examples && loopsCard(all),
      levelsCard(all),
      reasonsCard(all),
      mistakesCard(all),
      rewardsCard(all),
      tokensCard(all, "Tokens per reply", "reply", all.replyTokens, [all.replyLimit], all.repliesOver),
      tokensCard(
        all,
        "Tokens per game",
        "game",
        all.gameTokens,
        all.gameLimits.map(([limit]) => limit),
        all.gamesOver,
      ),
      !all.examples && costCard(all),
    ),
  );
}

function lead(all) {
  const made = all.about.made.replace("T", " ").replace("+00:00", " UTC");
  const models = Object.keys(all.models).filter(Boolean);
  const by = models.length > 3 ? `${models.length} models` : models.join(", ");
  return [
    `${plural(all.games, "game")} in ${plural(all.files.length, "file")} of ${all.about.title}`,
    ...(by ? [", played by ", said(by)] : []),
    all.simulated ? `; ${all.simulated === all.games ? "all" : count(all.simulated)} simulated` : "",
    `. Made ${made}.`,
  ];
}

// Where every puzzle stands, as one bar.
function standing(all) {
  if (!all.puzzles) return nothing("No games yet. Play some with: uv run python iterative_generate.py --loop 1");
  const last = all.files.at(-1);
  const names = all.examples ? [["good", "Fit"], ["unsalvageable", "Refused"], ["missing", "Missing"]] : STANDINGS;
  const parts = names.map(([kind, name]) => [kind, name, last ? last[kind] : kind === "missing" ? all.puzzles : 0]);
  const shown = parts.filter(([, , value]) => value > 0);
  const told = shown.map(([, name, value]) => `${name} ${count(value)}`).join(", ");
  return el(
    "div",
    { class: "standing card" },
    el(
      "p",
      { class: "headline" },
      el("strong", {}, count(all.examples ? all.chosen : all.goodPuzzles)),
      ` of ${plural(all.puzzles, "puzzle")} ${all.examples ? "are in the dataset" : "have a good game"}`,
    ),
    el(
      "div",
      { class: "meter", role: "img", "aria-label": told },
      shown.map(([kind, , value]) => el("i", { class: kind, style: { "flex-grow": String(value) } })),
    ),
    el(
      "ul",
      { class: "legend" },
      shown.map(([kind, name, value]) =>
        el(
          "li",
          {},
          el("i", { class: `swatch ${kind}`, "aria-hidden": "true" }),
          `${name} `,
          el("b", {}, count(value)),
        ),
      ),
    ),
  );
}

function figures(all) {
  const used = all.usage.input + all.usage.output;
  const good = all.examples ? all.chosen : all.goodPuzzles;
  const shown = [
    ["Games won", percent(all.won, all.games), `${count(all.won)} of ${count(all.games)}`],
    ["Good games", percent(all.good, all.games), `${count(all.good)} of ${count(all.games)}`],
    ["Doctored", count(all.doctored), "went on from a game that was cut"],
    all.examples && ["Reduced", count(all.reduced), "reasoning made shorter"],
    used > 0 && ["Tokens", brief(used), `${brief(all.usage.input)} in, ${brief(all.usage.output)} out, to play ${all.examples ? "these games" : "all games"}`],
    used > 0 &&
      (all.cost === null
        ? ["Per good puzzle", good && used ? brief(Math.round(used / good)) : "unknown", "tokens of play, without reduction"]
        : ["Per good puzzle", good ? dollars(all.cost / good) : "unknown", `${dollars(all.cost)} for play in all, without reduction`]),
  ];
  return shown
    .filter(Boolean)
    .map(([name, figure, note]) =>
      el("div", {}, el("dt", {}, name), el("dd", {}, el("strong", {}, figure), el("small", {}, note))),
    );
}

// What is counted and not shown, and what is in the files and does not count.
function leftOut(all) {
  const notes = [];
  if (all.about.left_out) {
    notes.push(
      `The list shows ${count(all.about.games)} games: the chosen ones, then the newest bad ones. ` +
        `${count(all.about.left_out)} more are counted here and not shown (--report-games takes more).`,
    );
  }
  const others = Object.entries(all.leftOut).map(([why, number]) => `${why}: ${count(number)}`);
  if (others.length) notes.push(`Rows that do not count: ${others.join(", ")}.`);
  return notes.map((note) => el("p", { class: "note" }, note));
}
