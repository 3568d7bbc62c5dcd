"""The style of report.html: light and dark, wide and narrow, screen and paper.

Refuses to fetch: no font, no picture, no other file.
"""

from __future__ import annotations

from copris_core.report.figure_inline import theme_variables

LIGHT = """\
    --paper: #ffffff; --ink: #1f2328; --faint: #59636e; --line: #dde2e8; --soft: #f5f7f9;
    --mark: #0060a0; --alarm: #b42318; --shade: rgb(31 35 40 / 0.13);
"""
DARK = """\
    --paper: #14181d; --ink: #e3e8ee; --faint: #9aa6b2; --line: #333b45; --soft: #1b2128;
    --mark: #6cc0f0; --alarm: #ff8a7a; --shade: rgb(0 0 0 / 0.75);
"""

RULES = """\
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 1rem; -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
.page { max-width: 84rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
main { min-width: 0; }
a { color: var(--mark); text-decoration: none; }
a:hover, a:focus { text-decoration: underline; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 0.75rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; line-height: 1.3; margin: 0 0 0.4rem; overflow-wrap: anywhere; }
p.lead { font-size: 1.2rem; line-height: 1.45; margin: 0 0 0.5rem; overflow-wrap: anywhere; }
p.remark, figcaption { color: var(--faint); margin: 0 0 0.75rem; max-width: 46rem; }
section, figure { margin: 2.75rem 0 0; }
.cards {
  display: grid; gap: 0.75rem; margin: 1.5rem 0 0;
  grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr));
}
.card {
  margin: 0; border: 1px solid var(--line); border-top: 4px solid var(--pen);
  border-radius: 0.5rem; padding: 0.8rem 0.9rem; background: var(--soft); font-size: 0.95rem;
}
.card h2 { font-size: 1.05rem; margin: 0 0 0.25rem; }
.card .mark { color: var(--pen); }
.card .big { margin: 0 0 0.5rem; font-size: 1.5rem; line-height: 1.3; font-weight: 650; }
.card .big span {
  font-size: 0.9rem; font-weight: 400; color: var(--faint); white-space: nowrap;
}
.card dl { display: grid; grid-template-columns: 1fr auto; gap: 0.1rem 0.5rem; margin: 0; }
.card dt { color: var(--faint); white-space: nowrap; }
.card dd { margin: 0; text-align: right; font-weight: 600; font-variant-numeric: tabular-nums; }
.card dd.alarm { color: var(--alarm); }
ul.notes { padding-left: 1.2rem; margin: 0.5rem 0 0; max-width: 50rem; }
ul.notes li { margin: 0.35rem 0; overflow-wrap: anywhere; }
details { margin: 0.5rem 0 0; }
summary { color: var(--mark); cursor: pointer; }
figure svg { display: block; width: 100%; height: auto; margin: 0.5rem 0; }
figure svg * { stroke-linejoin: round; stroke-linecap: butt; }
figure svg.tall { display: none; }
.scroll {
  overflow-x: auto;
  background: linear-gradient(to left, var(--paper) 40%, transparent) 100% 0 / 3rem 100% local,
    linear-gradient(to left, var(--shade), transparent) 100% 0 / 0.9rem 100% scroll;
  background-repeat: no-repeat;
}
table {
  border-collapse: separate; border-spacing: 0; min-width: 100%;
  font-variant-numeric: tabular-nums;
}
th, td { padding: 0.4rem 0.8rem; border-top: 1px solid var(--line); text-align: right; }
td { white-space: nowrap; }
td .extent { color: var(--faint); font-size: 0.85em; }
table.dense .extent { display: block; }
thead th { border-top: 0; border-bottom: 1px solid var(--line); vertical-align: bottom; }
th:first-child {
  position: sticky; left: 0; background: var(--paper) padding-box; padding-left: 0;
  text-align: left;
}
tbody th { font-weight: 400; }
table.words th, table.words td { text-align: left; vertical-align: top; }
table.words td { white-space: normal; overflow-wrap: anywhere; min-width: 8rem; }
table.words tbody th { overflow-wrap: anywhere; min-width: 14rem; }
pre {
  margin: 0; padding: 0.8rem 1rem; border: 1px solid var(--line); border-radius: 0.5rem;
  background: var(--soft); overflow-x: auto; font-size: 0.9rem; line-height: 1.5;
}
nav ol { list-style: none; margin: 0; padding: 0; }
nav p { display: none; }
@media (max-width: 1179px) {
  nav { margin: 0 0 1.25rem; font-size: 0.95rem; }
  nav > ol { display: flex; flex-wrap: wrap; gap: 0.25rem 1.1rem; }
  nav ol ol { display: none; }
}
@media (min-width: 1180px) {
  .page { display: grid; grid-template-columns: 13rem minmax(0, 1fr); gap: 2.5rem; }
  nav {
    position: sticky; top: 1.5rem; align-self: start; max-height: calc(100vh - 3rem);
    overflow-y: auto; font-size: 0.875rem; line-height: 1.4;
  }
  nav p { display: block; margin: 0 0 0.6rem; font-weight: 650; overflow-wrap: anywhere; }
  nav p a { color: var(--ink); }
  nav > ol > li { margin: 0.6rem 0 0; }
  nav ol ol { margin: 0.2rem 0 0; padding-left: 0.7rem; border-left: 2px solid var(--line); }
  nav ol ol li { margin: 0.25rem 0; }
  nav ol ol a { color: var(--faint); }
}
@media (max-width: 640px) {
  .page { padding: 1.25rem 1rem 3rem; }
  h1 { font-size: 1.4rem; }
  p.lead { font-size: 1.1rem; }
  section, figure { margin-top: 2.25rem; }
  .cards { grid-template-columns: minmax(0, 1fr); }
  figure svg.wide { display: none; }
  figure svg.tall { display: block; }
  table { font-size: 0.875rem; }
  th, td { padding: 0.4rem 0.55rem; }
  tbody th, table.words tbody th { min-width: 7.5rem; max-width: 9.5rem; }
  td .extent { display: block; }
}
@media print {
  .page { display: block; max-width: none; padding: 0; }
  nav { display: none; }
  body { font-size: 10.5pt; }
  figure, tr, .card, pre { break-inside: avoid; }
  h2, p.remark { break-after: avoid; }
  .scroll { overflow: visible; background: none; }
  td { white-space: normal; }
  details::details-content { content-visibility: visible; }
  figure svg.wide { display: block; }
  figure svg.tall { display: none; }
}
"""


def style() -> str:
    """The whole style; paper is always light."""
    light, dark = LIGHT + theme_variables("light"), DARK + theme_variables("dark")
    return (
        f":root {{\n{light}\n}}\n"
        f"@media screen and (prefers-color-scheme: dark) {{\n:root {{\n{dark}\n}}\n}}\n{RULES}"
    )
