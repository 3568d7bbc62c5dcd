"""The HTML of report.html, as a template that is filled, and escaped, by `page`.

Refuses to hold facts: it knows where things stand, not what they say. Its looks are `page_style`.
"""

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{{ title }}</title>
<style>
{{ style }}</style>
</head>
<body>
<div class="page">
<nav aria-label="Contents">
<p><a href="#top">{{ title }}</a></p>
<ol>
{% for part in parts %}<li><a href="#{{ part.anchor }}">{{ part.title }}</a>
{% if part.inner %}<ol>
{% for each in part.inner %}<li><a href="#{{ each.anchor }}">{{ each.title }}</a></li>
{% endfor %}</ol>
{% endif %}</li>
{% endfor %}</ol>
</nav>
<main id="top">
<header>
<h1>{{ title }}</h1>
{% for sentence in headline %}<p class="lead">{{ sentence }}</p>
{% endfor %}</header>
<div class="cards">
{% for card in cards %}<section class="card" style="--pen: var({{ card.colour }})">
<h2><span class="mark" aria-hidden="true">{{ card.marker }}</span> {{ card.label }}</h2>
<p class="big">{{ card.accuracy }} \
<span>accuracy{% if card.before %}, from {{ card.before }}{% endif %}</span></p>
<dl>
<dt>seconds a step</dt><dd>{{ card.step_s }}</dd>
<dt>steps per second</dt><dd>{{ card.pace }}</dd>
<dt>runs</dt><dd>{{ card.seeds }}</dd>
<dt>ledger</dt><dd{% if not card.is_sound %} class="alarm"{% endif %}>{{ card.ledger }}</dd>
</dl>
</section>
{% endfor %}</div>
{% for figure in first %}{{ drawn(figure) }}{% endfor %}\
<section id="notes">
<h2>In words</h2>
{% if notes %}<ul class="notes">
{% for note in notes %}<li>{{ note }}</li>
{% endfor %}</ul>
{% if more_notes %}<details>
<summary>{{ more_notes | length }} more, also on what else differed</summary>
<ul class="notes">
{% for note in more_notes %}<li>{{ note }}</li>
{% endfor %}</ul>
</details>
{% endif %}{% else %}<p class="remark">Nothing to warn of.</p>
{% endif %}</section>
{% for figure in rest %}{{ drawn(figure) }}{% endfor %}\
{% for table in tables %}<section id="{{ table.anchor }}">
<h2>{{ table.title }}</h2>
{% if table.remark %}<p class="remark">{{ table.remark }}</p>
{% endif %}<div class="scroll" role="region" aria-label="{{ table.title }}" tabindex="0">
<table class="{{ table.look }}">
<thead><tr>{% for name in table.header %}<th scope="col">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in table.rows %}<tr><th scope="row">{{ row[0][0] | breakable }}</th>\
{% for main, extent in row[1:] %}<td>{{ main | breakable if table.words else main }}\
{% if extent %}<span class="extent"> {{ extent }}</span>{% endif %}</td>{% endfor %}</tr>
{% endfor %}</tbody>
</table>
</div>
</section>
{% endfor %}<section id="again">
<h2>Do it again</h2>
<p class="remark">{{ again.remark }}</p>
<pre tabindex="0">{{ again.command }}</pre>
</section>
</main>
</div>
</body>
</html>
"""

FIGURE = """\
<figure id="{{ anchor }}">
<h2>{{ title }}</h2>
{{ wide }}
{{ tall }}
<figcaption>{{ remark }}</figcaption>
</figure>
"""
