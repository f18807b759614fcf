// The cards of the overview: a chart each, from figures that were counted when the page was written.

function loopsCard(all) {
  const title = "Loops over time";
  if (!all.files.length) {
    const none = "No results file yet. Play some games: uv run python iterative_generate.py --loop 1";
    return card(title, "Where the puzzles stood after each results file.", nothing(none), null, true);
  }
  const stood = (file) => STANDINGS.map(([kind, name]) => `${count(file[kind])} ${name.toLowerCase()}`).join(", ");
  const cols = all.files.map((file) => ({
    label: shortName(file.name),
    told: `${plain(file.name)}: ${stood(file)}`,
    parts: STANDINGS.map(([kind]) => [kind, file[kind]]),
  }));
  const rows = all.files.map((file) => [
    said(file.name),
    ...STANDINGS.map(([kind]) => count(file[kind])),
    count(file.games),
    count(file.newlyGood),
  ]);
  return card(
    title,
    "Puzzles by their best game so far, after each results file.",
    [
      legend(STANDINGS),
      columns(title, cols, { top: all.puzzles || 1, resting: "Hover over a bar, or use the arrow keys." }),
    ],
    tableOf(["File", ...STANDINGS.map(([, name]) => name), "Games", "Newly good"], rows),
    true,
  );
}

const shortName = (name) => plain(name).replace(/^results_/, "").replace(/\.jsonl$/, "");

function levelsCard(all) {
  const title = "Solved by difficulty";
  const known = all.levels.filter((one) => one.level !== null);
  const sentence = "Share of the puzzles of each difficulty that have a good game.";
  if (!known.length) {
    const none = all.games ? "These puzzles do not say how difficult they are." : "No games yet.";
    return card(title, sentence, nothing(none));
  }
  const name = (level) => (level === null ? "?" : `${level}–${level + 1}`);
  const cols = all.levels.map((one) => ({
    label: name(one.level),
    told:
      `Difficulty ${one.level === null ? "unknown" : name(one.level)}: ${count(one.solved)} of ` +
      `${plural(one.puzzles, "puzzle")} (${percent(one.solved, one.puzzles)}); ` +
      `${count(one.won)} of ${plural(one.games, "game")} won`,
    parts: [["good", (100 * one.solved) / one.puzzles]],
  }));
  const rows = all.levels.map((one) => [
    name(one.level),
    count(one.puzzles),
    count(one.solved),
    percent(one.solved, one.puzzles),
    count(one.games),
    percent(one.won, one.games),
  ]);
  const resting = "Difficulty as the source of the puzzles states it.";
  return card(
    title,
    sentence,
    columns(title, cols, {
      top: 100,
      format: (value) => `${Math.round(value)}%`,
      resting,
      everyLabel: cols.length < 12,
    }),
    tableOf(["Difficulty", "Puzzles", "Solved", "Share", "Games", "Games won"], rows),
  );
}

function reasonsCard(all) {
  const title = all.examples ? "Why games were refused" : "Why games are bad";
  const reasons = Object.entries(all.reasons);
  const [good, called] = all.examples ? ["fit", "refused"] : ["good", "bad"];
  const sentence = `The first reason of each game that is ${all.examples ? "refused" : "not good"}.`;
  if (!reasons.length) return card(title, sentence, nothing(all.games ? `Every game is ${good}.` : "No games yet."));
  const bad = all.games - all.good;
  const told = (why, number) =>
    `${plain(why)}: ${plural(number, "game")} (${percent(number, bad)} of the ${called} ones)`;
  const rows = reasons.map(([why, number]) => ({
    label: why,
    value: number,
    told: told(why, number),
    kind: "unsalvageable",
  }));
  return card(
    title,
    sentence,
    barsAcross(title, rows.slice(0, 10), `${plural(bad, "game")} of ${count(all.games)}.`),
    tableOf(
      ["Reason", "Games", "Share"],
      reasons.map(([why, number]) => [visible(why), count(number), percent(number, bad)]),
    ),
  );
}

function mistakesCard(all) {
  const title = "Mistakes per game";
  if (!all.games) return card(title, "Wrong guesses that cost a life.", nothing("No games yet."));
  const cols = all.mistakes.map((one) => ({
    label: String(one.mistakes),
    told: `${plural(one.mistakes, "mistake")}: ${plural(one.won, "game")} won, ${count(one.other)} lost or unfinished`,
    parts: [
      ["good", one.won],
      ["salvageable", one.other],
    ],
  }));
  return card(
    title,
    "Wrong guesses that cost a life, in games won and in others.",
    [
      legend([
        ["good", "Won"],
        ["salvageable", "Lost or unfinished"],
      ]),
      columns(title, cols, { everyLabel: true, resting: "Invalid guesses are no mistakes." }),
    ],
    tableOf(
      ["Mistakes", "Won", "Lost or unfinished"],
      all.mistakes.map((one) => [String(one.mistakes), count(one.won), count(one.other)]),
    ),
  );
}

const LEAST_REWARD_STEP = 0.5;
const MOST_REWARD_BARS = 60; // a row may say anything

function rewardsCard(all, rulesets) {
  const title = "Rewards";
  const perfect = Object.entries(rulesets).map(([name, rules]) => `${rules.perfect} by ${name}`);
  const sentence = `What the games scored; perfect play is ${perfect.join(", ")}.`;
  if (!all.rewards.length) return card(title, sentence, nothing("No games yet."));
  const bins = new Map();
  let step = LEAST_REWARD_STEP;
  const reach = Math.max(all.rewards.at(-1)[0], 0) - Math.min(all.rewards[0][0], 0);
  while (reach / step > MOST_REWARD_BARS) step *= 2;
  for (const [value, number] of all.rewards) {
    const bin = Math.floor(value / step);
    bins.set(bin, (bins.get(bin) ?? 0) + number);
  }
  const first = Math.min(0, ...bins.keys());
  const last = Math.max(...bins.keys());
  const rows = [];
  for (let bin = first; bin <= last; bin += 1) rows.push([bin * step, bins.get(bin) ?? 0]);
  const name = (from) => `${decimal(from)} to below ${decimal(from + step)}`;
  const cols = rows.map(([from, number]) => ({
    label: decimal(from),
    told: `${name(from)}: ${plural(number, "game")}`,
    parts: [["plain", number]],
  }));
  const known = all.rewards.reduce((sum, [, number]) => sum + number, 0);
  const mean = all.rewards.reduce((sum, [value, number]) => sum + value * number, 0) / known;
  return card(
    title,
    sentence,
    columns(title, cols, { resting: `Mean ${decimal(mean)}.` }),
    tableOf(
      ["Reward", "Games"],
      rows.map(([from, number]) => [name(from), count(number)]),
    ),
  );
}

// Boards of several sizes have several limits: the least and the greatest are marked.
function tokensCard(all, what, bars, limits, over, estimated) {
  const title = `Tokens per ${what}`;
  const how = all.counted
    ? `as a trainer counts them (${all.counted})`
    : `${what === "game" ? "that is of its replies, " : ""}as the endpoint counted them, before any reduction`;
  if (!bars.length) return card(title, `Tokens of each ${what}.`, nothing("No games yet."));
  const many = what === "reply" ? "replies" : "games";
  const name = ([from, to]) => (to === null ? `${count(from)} or more` : `${count(from)} to ${count(to - 1)}`);
  const told = (bar) => {
    const [, , within, beyond] = bar;
    const split = within && beyond ? `, ${count(beyond)} of them over the limit` : beyond ? ", over the limit" : "";
    return `${name(bar)} tokens: ${plural(within + beyond, what, many)}${split}`;
  };
  const cols = bars.map((bar) => ({
    label: bar[1] === null ? `${brief(bar[0])}+` : brief(bar[0]),
    told: told(bar),
    parts: [
      ["plain", bar[2]],
      ["over", bar[3]],
    ],
  }));
  const closed = bars.filter(([, to]) => to !== null);
  const most = closed.length ? closed.at(-1)[1] : 0;
  const width = most * (bars.length / (closed.length || 1));
  const marks = [...new Set([Math.min(...limits), Math.max(...limits)])].map((limit) => ({
    at: limit <= most ? limit / width : null,
    label: `limit ${count(limit)}`,
  }));
  const total = bars.reduce((sum, [, , within, beyond]) => sum + within + beyond, 0);
  const some = estimated > 0 && estimated < total;
  const guessed = some ? ` Of ${plural(total, what, many)} ${count(estimated)} estimated.` : "";
  const which = limits.length > 1 ? "the limit of its board" : `the limit of ${count(limits[0])}`;
  return card(
    title,
    estimated === total
      ? `Tokens of each ${what}, estimated from the length of its text: nobody counted them.`
      : `Tokens of each ${what}, ${how}.${guessed}`,
    [
      legend([
        ["plain", limits.length > 1 ? "Within its limit" : "Within the limit"],
        ["over", limits.length > 1 ? "Over its limit" : "Over the limit"],
      ]),
      columns(title, cols, {
        marks,
        resting: `${count(over)} of ${plural(total, what, many)} (${percent(over, total)}) over ${which}.`,
      }),
    ],
    tableOf(
      ["Tokens", "Within", "Over"],
      bars.map((bar) => [name(bar), count(bar[2]), count(bar[3])]),
    ),
  );
}

function costCard(all) {
  const priced = all.cost !== null;
  const title = priced ? "Cost of play per new good puzzle" : "Tokens of play per new good puzzle";
  const spent = (file) => (priced ? file.cost : file.input + file.output);
  const say = (value) => (priced ? dollars(value) : brief(Math.round(value)));
  const sentence =
    "What the games of each file took, over the puzzles whose first good game it holds." +
    (priced ? "" : " Prices (--price-input, --price-output) make it money.");
  if (!all.files.some((file) => spent(file) > 0)) {
    const none = all.games ? "These games do not say what they took." : "No games yet.";
    return card(title, sentence, nothing(none), null, true);
  }
  const cols = all.files.map((file) => {
    const each = file.newlyGood ? spent(file) / file.newlyGood : 0;
    const told = file.newlyGood
      ? `${say(each)}${priced ? "" : " tokens"} for each of ${count(file.newlyGood)}`
      : "no new good puzzle";
    return {
      label: shortName(file.name),
      told: `${plain(file.name)}: ${told}; ${say(spent(file))} in all`,
      parts: [["plain", each]],
    };
  });
  const rows = all.files.map((file) => [
    said(file.name),
    count(file.newlyGood),
    count(file.input),
    count(file.output),
    ...(priced ? [dollars(file.cost)] : []),
    file.newlyGood ? say(spent(file) / file.newlyGood) : "none",
  ]);
  return card(
    title,
    sentence,
    columns(title, cols, { format: say, resting: "Later files are about the harder puzzles." }),
    tableOf(["File", "Newly good", "Tokens in", "Tokens out", ...(priced ? ["Cost"] : []), "Each"], rows),
    true,
  );
}
