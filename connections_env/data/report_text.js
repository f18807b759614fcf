// Elements, and text in them. What models said goes in as text alone: nothing here parses any of it as HTML.

const byId = (id) => document.getElementById(id);

function make(tag, attributes, children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else if (name === "style") for (const [one, is] of Object.entries(value)) element.style.setProperty(one, is);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...there(children));
  return element;
}

const el = (tag, attributes = {}, ...children) => make(tag, attributes, children);

// Puts children in the place of those that are there.
function fill(element, ...children) {
  element.replaceChildren(...there(children));
}

// What is left out of a list of children: conditions that do not hold.
const there = (children) =>
  children.flat(2).filter((child) => child !== null && child !== undefined && child !== false);

// Characters that cannot be seen, or that turn the text around them: shown by their number instead.
const UNSEEN = /[/* unseen */]/gu;

const numbered = (character) => `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;

function visible(text) {
  const lines = String(text).replace(/\r\n/g, "\n");
  const pieces = [];
  let end = 0;
  for (const found of lines.matchAll(UNSEEN)) {
    if (found.index > end) pieces.push(lines.slice(end, found.index));
    const named = { class: "unseen-character", title: "a character that cannot be seen" };
    pieces.push(el("span", named, numbered(found[0])));
    end = found.index + found[0].length;
  }
  if (end < lines.length) pieces.push(lines.slice(end));
  return pieces;
}

// The same where no element can be: in titles, labels and options.
const plain = (text) => String(text).replace(UNSEEN, numbered);

// A text of others inside a line of ours: its direction stays its own.
const said = (text, attributes = {}) => el("bdi", attributes, visible(text));

const figure = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const count = (number) => figure.format(number);
const brief = (number) => (number < 10000 ? figure.format(number) : short.format(number));
const percent = (part, all) => (all ? `${((100 * part) / all).toFixed(1)}%` : "–");
const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;
// Null stands for what is no number.
const decimal = (number) => (number === null ? "unknown" : String(Math.round(number * 100) / 100));
function dollars(usd) {
  return usd !== 0 && Math.abs(usd) < 1 ? `$${usd.toPrecision(2)}` : `$${usd.toFixed(2)}`;
}

function bytesOf(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let n = 0; n < text.length; n += 1) bytes[n] = text.charCodeAt(n);
  return bytes;
}

async function unpacked(id) {
  const bytes = bytesOf(byId(id).textContent);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

// The blocks of games opened last: reading on in a game, or to its neighbour, opens none.
const opened = new Map();
const MOST_OPEN = 6;

async function blockOf(number) {
  if (!opened.has(number))
    opened.set(
      number,
      unpacked(`block-${number}`).then((text) => text.split("\n")),
    );
  const lines = await opened.get(number);
  if (opened.size > MOST_OPEN) opened.delete(opened.keys().next().value);
  return lines;
}

function announce(text) {
  byId("live").textContent = text;
}
