"""The HTML of eval.html, as a template that is filled, and escaped, by `eval_page`.

Refuses to hold facts: it knows where things stand, not what they say.
"""

STYLE = """\
:root {
  --paper: #ffffff; --ink: #1f2328; --faint: #59636e; --line: #dde2e8; --soft: #f5f7f9;
  --mark: #0072b2; --right: #0072b2; --wrong: #b04600; --found: #ffe58a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14181d; --ink: #e3e8ee; --faint: #9aa6b2; --line: #333b45; --soft: #1b2128;
    --mark: #56b4e9; --right: #56b4e9; --wrong: #f0a35e; --found: #6b5700;
  }
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body {
  margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 66rem;
  background: var(--paper); color: var(--ink); overflow-wrap: anywhere;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 0.25rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 0.25rem; }
p.remark { color: var(--faint); margin: 0 0 0.75rem; }
.cards {
  display: grid; gap: 0.75rem; margin: 1.5rem 0;
  grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr));
}
.card {
  border: 1px solid var(--line); border-radius: 0.6rem; padding: 0.9rem 1rem;
  background: var(--soft);
}
.card h3 { margin: 0 0 0.5rem; font-size: 1rem; color: var(--mark); }
.card p { margin: 0 0 0.5rem; font-size: 1.1rem; font-weight: 600; }
.card p small { color: var(--faint); font-weight: 400; font-size: 0.9rem; }
.card dl { display: grid; grid-template-columns: 1fr auto; gap: 0.1rem 1rem; margin: 0; }
.card dt { color: var(--faint); }
.card dd { margin: 0; text-align: right; font-weight: 600; font-variant-numeric: tabular-nums; }
ul.notes { padding-left: 1.2rem; margin: 0.5rem 0; }
ul.notes li { margin: 0.3rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 0.4rem 0.8rem; border-bottom: 1px solid var(--line); text-align: right; }
td { white-space: nowrap; }
thead th { border-bottom-width: 2px; vertical-align: bottom; white-space: nowrap; }
th:first-child {
  position: sticky; left: 0; background: var(--paper); padding-left: 0; text-align: left;
}
tbody th { font-weight: 400; min-width: 6rem; }
table.words td { text-align: left; white-space: normal; }
details.more > summary { cursor: pointer; margin: 2rem 0 0; color: var(--mark); }
.controls { display: flex; flex-wrap: wrap; gap: 0.6rem; margin: 0.75rem 0; }
.controls label { flex: 1 1 9.5rem; color: var(--faint); font-size: 0.85rem; min-width: 0; }
.controls .wide { flex-basis: 100%; }
.controls select, .controls input, button {
  width: 100%; font: inherit; font-size: 1rem; color: var(--ink); background: var(--soft);
  border: 1px solid var(--line); border-radius: 0.4rem; padding: 0.4rem 0.5rem;
}
button { cursor: pointer; margin-top: 0.75rem; color: var(--mark); }
summary { cursor: pointer; }
.prompt { border-top: 1px solid var(--line); }
.prompt > summary { padding: 0.6rem 0; list-style: none; }
.prompt > summary::-webkit-details-marker { display: none; }
.facts { display: flex; flex-wrap: wrap; gap: 0.2rem 0.7rem; align-items: center; }
.facts b { min-width: 2.6rem; font-variant-numeric: tabular-nums; }
.bar {
  display: inline-block; width: 5rem; height: 0.5rem; border-radius: 0.25rem; overflow: hidden;
  background: var(--line);
}
.fill { display: block; height: 100%; background: var(--right); }
.uid, .index, .faint { color: var(--faint); font-size: 0.9rem; }
.tag {
  border: 1px solid var(--line); border-radius: 0.8rem; padding: 0 0.5rem; font-size: 0.8rem;
  color: var(--faint); white-space: nowrap;
}
.gist {
  display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow: hidden;
  unicode-bidi: plaintext;
}
.prompt[open] > summary .gist { display: none; }
.body { padding: 0 0 1rem; }
.body > p { margin: 0.5rem 0; }
pre, code {
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: 0.875rem; unicode-bidi: plaintext;
}
pre {
  white-space: pre-wrap; margin: 0.4rem 0; padding: 0.7rem 0.9rem; line-height: 1.5;
  background: var(--soft); border: 1px solid var(--line); border-radius: 0.4rem;
}
pre.question { font-family: inherit; font-size: 1rem; }
mark { background: var(--found); color: inherit; }
.right { color: var(--right); }
.wrong { color: var(--wrong); }
ul.votes { display: flex; flex-wrap: wrap; gap: 0.2rem 1.2rem; list-style: none; padding: 0; }
ul.votes li { min-width: 0; }
.sample { border-left: 3px solid var(--line); padding-left: 0.8rem; margin: 0.4rem 0; }
.sample > summary {
  display: flex; flex-wrap: wrap; gap: 0.1rem 0.8rem; align-items: baseline; padding: 0.2rem 0;
}
.sample > summary code {
  max-width: 22rem; overflow: hidden; text-overflow: ellipsis; white-space: nowrap;
}
.sample[open] { border-left-color: var(--mark); }
@media (max-width: 640px) {
  body { padding: 1.25rem 1rem 3rem; }
  table, tbody, tr, tbody th, td { display: block; }
  thead { display: none; }
  tr { padding: 0.5rem 0; border-bottom: 1px solid var(--line); }
  th, td { padding: 0.1rem 0; border: 0; }
  tbody th { font-weight: 600; }
  tbody th::before { content: attr(data-name) " "; color: var(--faint); font-weight: 400; }
  table:not(.words) td { display: flex; justify-content: space-between; gap: 1rem; }
  table:not(.words) td::before { content: attr(data-name); color: var(--faint); }
  .cards { grid-template-columns: minmax(0, 1fr); }
  .card { padding: 0.7rem 0.9rem; }
  .controls label:not(.wide) { flex-basis: 40%; }
  .sample > summary code { max-width: 11rem; }
}
"""

TEMPLATE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; \
style-src 'unsafe-inline'; script-src '{{ script_hash }}'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{{ title }}</title>
<style>
{{ style | safe }}</style>
</head>
<body>
<header>
<h1>{{ title }}</h1>
<p class="remark">What was asked, what the model wrote, and what the verifier said of it.</p>
</header>
<main>
<div class="cards">
{% for card in cards %}<section class="card">
<h3>{{ card.name }}</h3>
<p>{{ card.accuracy }} <small>{{ card.interval }}</small></p>
<dl>
{% for name, value in card.facts %}<dt>{{ name }}</dt><dd>{{ value }}</dd>
{% endfor %}</dl>
</section>
{% endfor %}</div>
{% if notes %}<h2>In words</h2>
<ul class="notes">
{% for note in notes %}<li>{{ note }}</li>
{% endfor %}</ul>
{% endif %}
{% macro show(table) %}<section>
<h2>{{ table.title }}</h2>
<p class="remark">{{ table.remark }}</p>
<div class="scroll">
<table{% if table.words %} class="words"{% endif %}>
<thead><tr>{% for name in table.heading %}<th scope="col">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in table.rows %}<tr><th scope="row" data-name="{{ table.heading[0] }}">{{ row[0] }}</th>\
{% for cell in row[1:] %}<td data-name="{{ table.heading[loop.index] }}">{{ cell }}</td>\
{% endfor %}</tr>
{% endfor %}</tbody>
</table>
</div>
</section>
{% endmacro %}
{{ show(tables[0]) }}
<details class="more"><summary>{{ tables[1:] | length }} more tables: \
{{ tables[1:] | map(attribute="title") | join(", ") }}</summary>
{% for table in tables[1:] %}{{ show(table) }}{% endfor %}</details>
<h2>Samples</h2>
<p class="remark">Open a prompt to read its samples. {{ data.remark }}</p>
<noscript><p>This part of the page needs JavaScript, which it carries itself.</p></noscript>
<div class="controls">
<label class="wide">Search<input id="search" type="search" autocomplete="off" \
placeholder="question, response or answer"></label>
<label>Samples<select id="show">
<option value="all">all</option>
<option value="wrong">wrong</option>
<option value="correct">correct</option>
<option value="never">never solved</option>
<option value="disagreeing">answers differ</option>
<option value="truncated">cut off</option>
<option value="unparsable">unparsable</option>
</select></label>
<label>Order<select id="sort">
<option value="hardest">hardest first</option>
<option value="easiest">easiest first</option>
<option value="longest">longest first</option>
<option value="order">as in the data</option>
</select></label>
<label>Task<select id="task"><option value="">any</option></select></label>
<label>Subject<select id="subject"><option value="">any</option></select></label>
<label>Level<select id="level"><option value="">any</option></select></label>
</div>
<p class="remark" id="count" role="status"></p>
<div id="list"></div>
<button id="more" type="button" hidden>Show more</button>
</main>
<script type="application/json" id="data">{{ data.json | safe }}</script>
<script>{{ script | safe }}</script>
</body>
</html>
"""
