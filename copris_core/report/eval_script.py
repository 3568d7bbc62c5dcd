"""The script of eval.html: filter, sort and open prompts. Refuses to fetch and to write markup.

Text reaches the page by textContent alone, so whatever a model wrote stays text. Rows are made
when they are to be seen: a page of 1,319 prompts with 8 samples each opens at once.
"""

SCRIPT = """\
"use strict";
const PAGE = 40;
const find = (id) => document.getElementById(id);
const prompts = JSON.parse(find("data").textContent).map((prompt, order) => {
  const samples = prompt.samples.map(
    ([response, answer, score, correct, reason, tokens, cut], index) =>
      ({ response, answer, score, correct: correct === 1, reason, tokens, cut: cut === 1, index }));
  const right = samples.filter((x) => x.correct).length;
  const answers = new Set(samples.map((x) => x.answer).filter((x) => x !== null));
  const tokens = samples.reduce((sum, x) => sum + x.tokens, 0) / samples.length;
  return { ...prompt, samples, order, right, tokens, answers: answers.size };
});

// Which samples a filter is about; a prompt is shown when it has one.
const SHOWS = {
  all: () => true,
  wrong: (x) => !x.correct,
  correct: (x) => x.correct,
  never: (x, prompt) => prompt.right === 0,
  disagreeing: (x, prompt) => prompt.answers > 1,
  truncated: (x) => x.cut,
  unparsable: (x) => x.answer === null,
};
const rate = (prompt) => prompt.right / prompt.samples.length;
const SORTS = {
  hardest: (a, b) => rate(a) - rate(b),
  easiest: (a, b) => rate(b) - rate(a),
  longest: (a, b) => b.tokens - a.tokens,
  order: () => 0,
};

let chosen = [];
let drawn = 0;
let query = "";

function make(tag, name, text) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  if (text !== undefined) node.textContent = text;
  return node;
}

// The text with what was searched for marked.
function written(tag, name, text) {
  const node = make(tag, name);
  // Some letters change their length in lower case: then places would not fit, and none is marked.
  const low = text.toLowerCase();
  let from = 0;
  for (let at; query && low.length === text.length && (at = low.indexOf(query, from)) >= 0;) {
    node.append(text.slice(from, at), make("mark", "", text.slice(at, at + query.length)));
    from = at + query.length;
  }
  node.append(text.slice(from));
  return node;
}

const matches = (prompt, show) => prompt.samples.filter((x) => show(x, prompt));

function says(prompt) {
  if (!query) return true;
  const texts = [prompt.uid, prompt.question, prompt.truth];
  for (const x of prompt.samples) texts.push(x.response, x.reason, x.answer ?? "");
  return texts.some((text) => text.toLowerCase().includes(query));
}

function choose() {
  const show = SHOWS[find("show").value];
  const wanted = ["task", "subject", "level"].map((key) => [key, find(key).value]);
  query = find("search").value.trim().toLowerCase();
  let samples = 0;
  chosen = prompts.filter((prompt) => {
    if (wanted.some(([key, value]) => value && prompt[key] !== value.slice(1))) return false;
    const found = matches(prompt, show).length;
    if (!found || !says(prompt)) return false;
    samples += found;
    return true;
  });
  const sort = SORTS[find("sort").value];
  chosen.sort((a, b) => sort(a, b) || a.order - b.order);
  find("count").textContent =
    `${chosen.length.toLocaleString("en")} of ${prompts.length.toLocaleString("en")} prompts, `
    + `${samples.toLocaleString("en")} samples`;
  find("list").replaceChildren();
  drawn = 0;
  more();
}

function more() {
  const next = chosen.slice(drawn, drawn + PAGE);
  find("list").append(...next.map(row));
  drawn += next.length;
  const left = chosen.length - drawn;
  find("more").hidden = left === 0;
  find("more").textContent =
    `Show ${Math.min(PAGE, left)} more of ${left.toLocaleString("en")}`;
}

function row(prompt) {
  const item = make("details", "prompt");
  const head = make("summary");
  const n = prompt.samples.length;
  const bar = make("span", "bar");
  bar.append(make("span", "fill"));
  bar.firstChild.style.width = `${100 * rate(prompt)}%`;
  const facts = make("span", "facts");
  facts.append(make("b", "", `${prompt.right}/${n}`), bar, make("span", "uid", prompt.uid));
  const cut = prompt.samples.filter((x) => x.cut).length;
  const none = prompt.samples.filter((x) => x.answer === null).length;
  if (cut) facts.append(make("span", "tag", `${cut} cut off`));
  if (none) facts.append(make("span", "tag", `${none} unparsable`));
  if (prompt.answers > 1) facts.append(make("span", "tag", `${prompt.answers} answers`));
  head.append(facts, make("span", "gist", prompt.question.slice(0, 400)));
  item.append(head);
  item.addEventListener("toggle", () => item.children.length > 1 || item.append(opened(prompt)));
  return item;
}

function opened(prompt) {
  const body = make("div", "body");
  const level = /^\\d/.test(prompt.level) ? `level ${prompt.level}` : prompt.level;
  const about = [prompt.subject, level].filter(Boolean);
  if (about.length) body.append(make("p", "remark", about.join(", ")));
  body.append(written("pre", "question", prompt.question));
  const truth = make("p", "", "Right answer: ");
  truth.append(written("code", "", prompt.truth));
  body.append(truth, votes(prompt));
  const wanted = new Set(matches(prompt, SHOWS[find("show").value]));
  const first = prompt.samples.find((x) => wanted.has(x)) ?? prompt.samples[0];
  body.append(...prompt.samples.map((x) => sampled(x, x === first)));
  return body;
}

function votes(prompt) {
  const tally = new Map();
  for (const x of prompt.samples) {
    const seen = tally.get(x.answer) ?? { votes: 0, right: 0 };
    tally.set(x.answer, { votes: seen.votes + 1, right: seen.right + x.correct });
  }
  const list = make("ul", "votes");
  for (const [answer, seen] of [...tally].sort((a, b) => b[1].votes - a[1].votes)) {
    const item = make("li", seen.right ? "right" : "wrong");
    const many = answer === null ? `${seen.votes}, no vote`
      : `${seen.votes} vote${seen.votes === 1 ? "" : "s"}`;
    item.append(make("code", "", answer ?? "no answer"), " ", make("span", "faint", many));
    list.append(item);
  }
  return list;
}

function sampled(x, open) {
  const item = make("details", "sample");
  const head = make("summary");
  head.append(
    make("span", "index", `#${x.index}`),
    make("b", x.correct ? "right" : "wrong", x.correct ? "correct" : "wrong"),
    make("code", "", x.answer ?? "no answer"),
    make("span", "faint", `${x.tokens.toLocaleString("en")} tokens`));
  if (x.cut) head.append(make("span", "tag", "cut off"));
  item.append(head);
  const body = () => [
    written("p", "remark", `Score ${x.score}. Verifier: ${x.reason || "no reason given"}`),
    written("pre", "response", x.response || "(empty)"),
  ];
  item.addEventListener("toggle", () => item.children.length > 1 || item.append(...body()));
  item.open = open;
  return item;
}

function options(key) {
  const names = [...new Set(prompts.map((x) => x[key]).filter(Boolean))];
  names.sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const select = find(key);
  for (const name of names) {
    // A name may be empty of letters, a value may not: "=" keeps it apart from "any".
    const option = make("option", "", name);
    option.value = `=${name}`;
    select.append(option);
  }
  select.parentElement.hidden = names.length < 2;
}

["task", "subject", "level"].forEach(options);
["show", "task", "subject", "level", "sort"].forEach((id) =>
  find(id).addEventListener("change", choose));
let waiting;
find("search").addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(choose, 200);
});
find("more").addEventListener("click", more);
choose();
"""
