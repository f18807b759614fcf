// What is shown follows the address: #overview, #games, #game/12/3 (the third turn of a game).

const THEMES = ["auto", "light", "dark"];
const KEPT = "connections-report-theme";

function themed(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme").textContent = theme[0].toUpperCase() + theme.slice(1);
  byId("theme").setAttribute("aria-label", `Theme: ${theme}`);
  try {
    localStorage.setItem(KEPT, theme);
  } catch {
    // nowhere to keep it: this page alone
  }
}

function keptTheme() {
  try {
    const kept = localStorage.getItem(KEPT);
    return THEMES.includes(kept) ? kept : "auto";
  } catch {
    return "auto";
  }
}

function nextTheme() {
  const now = document.documentElement.dataset.theme;
  themed(THEMES[(THEMES.indexOf(now) + 1) % THEMES.length]);
}

function reveal(name) {
  for (const view of ["overview", "games", "game"]) byId(`${view}-view`).hidden = view !== name;
  const at = name === "overview" ? "to-overview" : "to-games";
  for (const id of ["to-overview", "to-games"]) {
    if (id === at) byId(id).setAttribute("aria-current", name === "game" ? "true" : "page");
    else byId(id).removeAttribute("aria-current");
  }
}

async function route(view, shownBefore) {
  const [name, n, turn] = location.hash.slice(1).split("/");
  const game = name === "game" ? view.games[Number(n)] : undefined;
  const listed = name === "games" || name === "game"; // a game that is not there is looked for in the list
  if (game) {
    await view.open(game.n, turn === undefined ? 0 : Number(turn) || 0);
    reveal("game");
    document.title = `${plain(game.name)} · Connections games`;
  } else {
    reveal(listed ? "games" : "overview");
    document.title = listed ? "Games · Connections games" : "Connections games";
  }
  if (!shownBefore || document.activeElement === byId("search")) return;
  const came = view.list.list.querySelector(`a[href="#game/${view.game?.n}"]`);
  if (listed && !game && came) came.focus();
  else {
    byId(game ? "game-title" : listed ? "games-title" : "overview-title").focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }
}

function keys(view) {
  const inGame = () => !byId("game-view").hidden;
  const beside = (step) => {
    const other = view.list.beside(view.game.n, step);
    if (other) location.hash = `#game/${other.n}`;
  };
  const game = {
    ArrowLeft: () => view.go(view.turn - 1),
    ArrowRight: () => view.go(view.turn + 1),
    Home: () => view.go(0),
    End: () => view.go(view.text.turns.length),
    j: () => beside(1),
    k: () => beside(-1),
    r: () => view.toggleReasoning(),
    a: () => view.toggleAnswer(!view.answer),
    Escape: () => (location.hash = "#games"),
  };
  const anywhere = {
    "?": () => byId("help").showModal(),
    t: nextTheme,
    "/": () => {
      reveal("games");
      byId("search").focus();
      location.hash = "#games";
    },
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open || event.defaultPrevented) return;
    if (event.target.closest("input:not([type=checkbox], [type=radio]), select, textarea")) return;
    if (["Home", "End"].includes(event.key) && event.target.closest(".prose, pre, .table")) return; // they scroll
    const act = (inGame() ? game[event.key] : undefined) ?? anywhere[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}

async function start() {
  themed(keptTheme());
  byId("theme").addEventListener("click", nextTheme);
  byId("keys").addEventListener("click", () => byId("help").showModal());
  byId("skip").addEventListener("click", () => byId("main").focus());
  const [overview, index] = await Promise.all([unpacked("overview"), unpacked("index")]);
  const known = JSON.parse(index);
  const games = gamesFrom(known);
  const list = new List(games);
  const view = new GameView(games, list, known.rulesets);
  showOverview(JSON.parse(overview), games, known.rulesets);
  byId("to-games").append(" ", el("small", {}, count(games.length)));
  keys(view);
  window.addEventListener("hashchange", () => route(view, true));
  await route(view, false);
  byId("loading").remove();
  document.documentElement.dataset.ready = "yes";
}

start().catch((error) => {
  byId("loading").textContent =
    `The page could not be read: ${error.message}. Is the file whole, and the browser of 2024 or later?`;
  throw error;
});
