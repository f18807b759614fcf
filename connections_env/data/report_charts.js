// Charts of plain elements: crisp at any width, each bar within reach of the mouse, the arrow keys and a table.

// A card with a title, a sentence, something drawn, and its numbers as a table.
function card(title, sentence, drawn, table, wide = false) {
  const id = `card-${title.toLowerCase().replace(/[^a-z]+/g, "-")}`;
  return el(
    "article",
    { class: wide ? "card wide" : "card", "aria-labelledby": id },
    el("h2", { id }, title),
    el("p", { class: "sentence" }, sentence),
    drawn,
    table && el("details", { class: "numbers" }, el("summary", {}, "Numbers"), table),
  );
}

function nothing(why) {
  return el("p", { class: "nothing" }, why);
}

// Rows of cells; the first row is the head, the first cell of each other row its name.
function tableOf(head, rows) {
  const numbers = (cell, n) => (n ? el("td", {}, cell) : el("th", { scope: "row" }, cell));
  return el(
    "div",
    { class: "table", tabindex: 0, role: "region", "aria-label": "Numbers of the chart" },
    el(
      "table",
      {},
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          head.map((cell) => el("th", { scope: "col" }, cell)),
        ),
      ),
      el(
        "tbody",
        {},
        rows.map((row) => el("tr", {}, row.map(numbers))),
      ),
    ),
  );
}

function legend(names) {
  return el(
    "ul",
    { class: "legend" },
    names.map(([kind, name]) => el("li", {}, el("i", { class: `swatch ${kind}`, "aria-hidden": "true" }), name)),
  );
}

// One stop of the tab key for all bars; the arrow keys go on from there. Hovering and focusing read a bar out.
function withReadout(label, bars, drawn, resting) {
  const readout = el("p", { class: "readout", "aria-hidden": "true" }, resting);
  const tell = (bar) => {
    readout.textContent = bar ? bar.getAttribute("aria-label") : resting;
  };
  bars.forEach((bar, n) => {
    bar.tabIndex = n ? -1 : 0;
    bar.addEventListener("mouseenter", () => tell(bar));
    bar.addEventListener("mouseleave", () => tell(null));
    bar.addEventListener("focus", () => tell(bar));
    bar.addEventListener("blur", () => tell(null));
    bar.addEventListener("keydown", (event) => {
      const to = {
        ArrowRight: n + 1,
        ArrowDown: n + 1,
        ArrowLeft: n - 1,
        ArrowUp: n - 1,
        Home: 0,
        End: bars.length - 1,
      };
      const next = bars[to[event.key]];
      if (!next) return;
      event.preventDefault();
      bars.forEach((one) => (one.tabIndex = one === next ? 0 : -1));
      next.focus();
    });
  });
  return el("div", { class: "chart", role: "group", "aria-label": label }, drawn, readout);
}

// The least round figure at or above a number, for the top of an axis.
function roundUp(number, even) {
  if (number <= 0) return even ? 2 : 1;
  const ten = 10 ** Math.floor(Math.log10(number));
  const steps = [1, 1.5, 2, 3, 4, 5, 6, 8, 10, 20].map((step) => step * ten);
  return steps.find((step) => step >= number && (!even || step % 2 === 0));
}

// Upright bars. `columns`: [{label, told, parts: [[kind, value], ...]}]; `marks`: [{at (0 to 1), label}] across them,
// each with a row of its own above the bars for its label; without `at` it lies further right than all of them.
function columns(label, cols, { top = null, format = brief, marks = [], resting = "", everyLabel = false } = {}) {
  const sums = cols.map((col) => col.parts.reduce((sum, [, value]) => sum + value, 0));
  const most = top ?? roundUp(Math.max(...sums, 0), format === brief); // what is counted has no halves
  const share = (value) => String((100 * value) / most); // shares that sum to less than 1 would not fill their bar
  const every = everyLabel ? 1 : Math.ceil(cols.length / 7);
  const bars = cols.map((col, n) =>
    el(
      "div",
      { class: "column", role: "img", "aria-label": col.told },
      el(
        "div",
        { class: "stack" },
        col.parts
          .filter(([, value]) => value > 0)
          .map(([kind, value]) => el("i", { class: kind, style: { "flex-grow": share(value) } })),
        most > sums[n] && el("b", { style: { "flex-grow": share(most - sums[n]) } }),
      ),
      el("span", { class: n % every ? "tick none" : "tick" }, n % every ? "" : col.label),
    ),
  );
  const lines = [1, 0.5, 0].map((height) => {
    const half = format === brief && !Number.isInteger(most * height);
    const style = { bottom: `${100 * height}%` };
    return el("div", { class: "line", style }, !half && el("span", {}, format(most * height)));
  });
  // The room before a label gives way where the label would not fit behind it, so that it never leaves the plot.
  const labels = marks.map(({ at, label: name }) =>
    el(
      "div",
      { class: "limit-label" },
      el("i", { style: { "flex-basis": `${100 * (at ?? 1)}%` } }),
      el("span", {}, at === null ? `${name} →` : name),
    ),
  );
  const across = marks.map(({ at }, n) =>
    at === null
      ? null
      : el("div", { class: "limit", style: { left: `${100 * at}%`, "--above": String(marks.length - n) } }),
  );
  const drawn = el(
    "div",
    { class: "plot", style: { "--columns": String(cols.length), "--marks": String(marks.length) } },
    el("div", { class: "lines", "aria-hidden": "true" }, lines),
    marks.length > 0 && el("div", { class: "limit-labels", "aria-hidden": "true" }, labels),
    el("div", { class: "columns" }, bars, el("div", { class: "limits", "aria-hidden": "true" }, there(across))),
  );
  return withReadout(label, bars, drawn, resting);
}

// Lying bars. `rows`: [{label, value, told, kind}].
function barsAcross(label, rows, resting) {
  const most = Math.max(...rows.map((row) => row.value), 1);
  const bars = rows.map((row) =>
    el(
      "div",
      { class: "across", role: "img", "aria-label": row.told },
      el("span", { class: "name" }, visible(row.label)),
      el("span", { class: "track" }, el("i", { class: row.kind, style: { width: `${(100 * row.value) / most}%` } })),
      el("span", { class: "value" }, count(row.value)),
    ),
  );
  return withReadout(label, bars, el("div", { class: "bars" }, bars), resting);
}
