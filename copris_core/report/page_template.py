"""The HTML of report.html, as a template that is filled, and escaped, by `page`.

Refuses to hold facts: it knows where things stand, not what they say.
"""

TEMPLATE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{{ names | join(", ") }}: what each run bought</title>
<style>
:root {
  --paper: #ffffff; --ink: #1f2328; --faint: #59636e; --line: #dde2e8; --soft: #f5f7f9;
  --mark: #0072b2;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14181d; --ink: #e3e8ee; --faint: #9aa6b2; --line: #333b45; --soft: #1b2128;
    --mark: #56b4e9;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 66rem;
  background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 0.25rem; overflow-wrap: anywhere; }
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
.card h3 { margin: 0 0 0.5rem; font-size: 1rem; color: var(--mark); overflow-wrap: anywhere; }
.card p { margin: 0 0 0.5rem; font-size: 1.1rem; font-weight: 600; white-space: nowrap; }
.card dl { display: grid; grid-template-columns: 1fr auto; gap: 0.1rem 1rem; margin: 0; }
.card dt { color: var(--faint); }
.card dd { margin: 0; text-align: right; font-weight: 600; font-variant-numeric: tabular-nums; }
ul.notes { padding-left: 1.2rem; margin: 0.5rem 0; }
ul.notes li { margin: 0.3rem 0; overflow-wrap: anywhere; }
picture img { display: block; width: 100%; height: auto; border-radius: 0.4rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 0.4rem 0.8rem; border-bottom: 1px solid var(--line); text-align: right; }
td { white-space: nowrap; }
thead th { border-bottom-width: 2px; vertical-align: bottom; white-space: nowrap; }
th:first-child {
  position: sticky; left: 0; background: var(--paper); padding-left: 0; text-align: left;
}
tbody th { font-weight: 400; }
table.words th, table.words td { text-align: left; vertical-align: top; }
table.words td { white-space: normal; overflow-wrap: anywhere; min-width: 7rem; }
table.words tbody th { overflow-wrap: anywhere; min-width: 14rem; }
@media (max-width: 640px) {
  body { padding: 1.25rem 1rem 3rem; }
  table { font-size: 0.875rem; }
  th, td { padding: 0.4rem 0.5rem; }
  tbody th, table.words tbody th { min-width: 7.5rem; max-width: 9rem; }
  .cards { grid-template-columns: minmax(0, 1fr); }
  .card { padding: 0.7rem 0.9rem; }
}
</style>
</head>
<body>
<header>
<h1>{{ names | join(", ") }}</h1>
<p class="remark">What each run bought: accuracy before and after with one
standard error, finished samples per second of generation, training steps per second.
Ratios are against {{ names[0] }}.</p>
</header>
<main>
<div class="cards">
{% for card in cards %}<section class="card">
<h3>{{ card.name }}</h3>
<p>{{ card.accuracy }}</p>
<dl>
<dt>samples/s</dt><dd>{{ card.rate }}</dd>
<dt>training steps/s</dt><dd>{{ card.step }}</dd>
</dl>
</section>
{% endfor %}</div>
<h2>In words</h2>
{% if notes %}<ul class="notes">
{% for note in notes %}<li>{{ note }}</li>
{% endfor %}</ul>
{% else %}<p class="remark">One run, nothing to warn of.</p>
{% endif %}
<h2>In pictures</h2>
<picture>
<source media="(prefers-color-scheme: dark) and (max-width: 640px)" srcset="{{ dark_tall }}">
<source media="(prefers-color-scheme: dark)" srcset="{{ dark_wide }}">
<source media="(max-width: 640px)" srcset="{{ light_tall }}">
<img src="{{ light_wide }}" alt="Four panels: accuracy and reward by step, reward by \
wall-clock, seconds of a training step by phase, and responses in flight over time.">
</picture>
{% for section in sections %}<section>
<h2>{{ section.title }}</h2>
{% if section.rows %}<p class="remark">{{ section.remark }}</p>
<div class="scroll">
<table{% if section.words %} class="words"{% endif %}>
<thead><tr><th scope="col"></th>\
{% for name in names %}<th scope="col">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in section.rows %}<tr><th scope="row">{{ row[0] }}</th>\
{% for cell in row[1:] %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody>
</table>
</div>
{% else %}<p class="remark">None.</p>
{% endif %}</section>
{% endfor %}</main>
</body>
</html>
"""
