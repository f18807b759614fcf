// The overview: what all games say together. Every figure was counted when the page was written.

const STANDINGS = [
  ["good", "Good"],
  ["salvageable", "Salvageable"],
  ["unsalvageable", "Unsalvageable"],
  ["missing", "Missing"],
];

function showOverview(all, games, rulesets) {
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
      rewardsCard(all, rulesets),
      tokensCard(all, "reply", all.replyTokens, [all.replyLimit], all.repliesOver, all.repliesEstimated),
      tokensCard(
        all,
        "game",
        all.gameTokens,
        all.gameLimits.map(([limit]) => limit),
        all.gamesOver,
        all.gamesEstimated,
      ),
      !all.examples && costCard(all),
    ),
  );
}

function lead(all) {
  const made = all.about.made.replace("T", " ").replace("+00:00", " UTC");
  // The simulated player goes by no other name, and how much of it is its work is told behind.
  const models = Object.keys(all.models).filter((name) => name && name !== "simulated");
  const by = models.length > 3 ? `${models.length} models` : models.join(", ");
  return [
    `${plural(all.games, "game")} in ${plural(all.files.length, "file")} of ${all.about.title}`,
    ...(by ? [", played by ", said(by)] : []),
    all.simulated
      ? `, ${all.simulated === all.games ? "all" : count(all.simulated)} with the simulated player`
      : "",
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
  const shown = [
    ["Games won", percent(all.won, all.games), `${count(all.won)} of ${count(all.games)}`],
    [
      all.examples ? "Fit games" : "Good games",
      percent(all.good, all.games),
      `${count(all.good)} of ${count(all.games)}`,
    ],
    ["Doctored", count(all.doctored), `of ${plural(all.games, "game")}: went on from one that was cut`],
    all.examples && ["Reduced", count(all.reduced), `of ${plural(all.games, "game")}: reasoning made shorter`],
    ...spentFigures(all),
  ];
  return shown
    .filter(Boolean)
    .map(([name, figure, ...notes]) =>
      el(
        "div",
        {},
        el("dt", {}, name),
        el("dd", {}, el("strong", {}, figure), notes.filter(Boolean).map((note) => el("small", {}, note))),
      ),
    );
}

// What was spent, reduction included wherever it is known.
function spentFigures(all) {
  const { usage, reduction } = all;
  const tokens = (used) => used.input + used.output;
  const used = tokens(usage) + tokens(reduction.usage);
  if (!used) return [];
  const good = all.examples ? all.chosen : all.goodPuzzles;
  const priced = all.cost !== null;
  const played = priced ? all.cost : tokens(usage);
  const reduced = priced ? reduction.cost : tokens(reduction.usage);
  const say = (value) => (priced ? dollars(value) : brief(Math.round(value)));
  const whose = all.examples ? "these games" : "all games";
  const told = reduction.answers > reduction.unknown;
  const paid = told
    ? `${say(played)} to play ${whose}, ${say(reduced)} to reduce`
    : `to play ${whose}`;
  const without = !reduction.known && "what reduction took is not known, and not in it";
  const unknown = [
    all.usageEstimated && `${count(all.usageEstimated)} estimated`,
    all.usageUnknown && `${count(all.usageUnknown)} unknown`,
  ].filter(Boolean);
  const doubts = unknown.length > 0 && `of ${plural(all.games, "game")} ${unknown.join(", ")}`;
  const guessed = [
    reduction.estimated && `${count(reduction.estimated)} estimated`,
    reduction.unknown && `${count(reduction.unknown)} unknown`,
  ].filter(Boolean);
  const silent = guessed.length > 0 && `of ${plural(reduction.answers, "reduction")} ${guessed.join(", ")}`;
  const each = all.examples ? "Per example" : "Per good puzzle";
  return [
    [
      "Tokens",
      brief(used),
      `${brief(usage.input + reduction.usage.input)} in, ${brief(usage.output + reduction.usage.output)} out`,
      doubts,
      silent,
    ],
    [
      each,
      good ? say((played + reduced) / good) : "unknown",
      `${say(played + reduced)} in all: ${paid}`,
      without,
      all.examples && "earlier and lost games are not in it",
    ],
  ];
}

// What is counted and not shown, and what is in the files and does not count.
function leftOut(all) {
  const notes = [];
  if (all.about.left_out) {
    const called = all.examples ? "refused" : "bad";
    notes.push(
      `The list shows ${count(all.about.games)} games: the chosen ones, then the newest ${called} ones. ` +
        `${count(all.about.left_out)} more are counted here and not shown (--report-games takes more).`,
    );
  }
  const others = Object.entries(all.leftOut).map(([why, number]) => `${why}: ${count(number)}`);
  if (others.length) notes.push(`Rows that do not count: ${others.join(", ")}.`);
  return notes.map((note) => el("p", { class: "note" }, note));
}
