"""The style and the one script of a page: it sorts, and lets one clip sound at a time."""

STYLE = """
:root { color-scheme: light dark; --ground: #fbfaf7; --panel: #f1eee8; --text: #22262d;
  --label: #5d6269; --rule: #d6d1c7; --c0: #0072b2; --c1: #b34d00; --c2: #00734f; --c3: #8f4a75;
  --good: #00734f; --bad: #b3261e; --knob: #7d6fa3; }
@media (prefers-color-scheme: dark) { :root { --ground: #12151a; --panel: #1b2027; --text: #d9dee6;
  --label: #98a2b0; --rule: #303743; --c0: #56b4e9; --c1: #e69f00; --c2: #2fc49a; --c3: #dc93ba;
  --good: #5fd0a8; --bad: #f0938c; --knob: #a99bd0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem 1rem 4rem; background: var(--ground);
  color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .75rem; padding-top: .75rem;
  border-top: 1px solid var(--rule); }
p { margin: .4rem 0; max-width: 46rem; }
.label, figcaption small, .note { color: var(--label); }
.failed { color: var(--bad); }
.figures { display: grid; gap: 1.25rem 2rem; grid-template-columns: repeat(auto-fill,
  minmax(min(100%, 26rem), 1fr)); }
figure { margin: 0; min-width: 0; }
figcaption { font-weight: 600; overflow-wrap: anywhere; }
figcaption small { font-weight: 400; margin-left: .6rem; }
.key { display: inline-block; width: .9em; height: .25em; vertical-align: middle;
  margin-right: .3em; border-radius: 2px; background: currentColor; }
svg { display: block; width: 100%; height: auto; background: var(--panel); border-radius: 6px; }
svg text { fill: var(--label); font: 12px system-ui, sans-serif; }
.grid { stroke: var(--rule); stroke-width: 1; }
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.band { stroke: none; opacity: .2; }
.curve-0 { color: var(--c0); } .curve-1 { color: var(--c1); }
.curve-2 { color: var(--c2); } .curve-3 { color: var(--c3); }
.line.curve-0, .line.curve-1, .line.curve-2, .line.curve-3 { stroke: currentColor; }
.band, .dot { fill: currentColor; }
.mark-knob { stroke: var(--knob); stroke-dasharray: 4 3; stroke-width: 1.5; }
.mark-checkpoint { stroke: var(--label); stroke-dasharray: 1 5; stroke-width: 1.5; }
.mark-rollback { stroke: var(--bad); stroke-dasharray: 2 2; stroke-width: 1.5; }
.mark-alarm { stroke: var(--bad); stroke-dasharray: 6 2; stroke-width: 1.5; }
.scroll { overflow-x: auto; }
.why { white-space: nowrap; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .7rem .35rem 0; text-align: left; vertical-align: middle;
  border-bottom: 1px solid var(--rule); }
th { color: var(--label); font-weight: 600; white-space: nowrap; }
.number { text-align: right; white-space: nowrap; }
.sentence { min-width: 14rem; overflow-wrap: anywhere; }
.good { color: var(--good); } .bad { color: var(--bad); }
th button { all: unset; cursor: pointer; }
th button:hover, th button:focus-visible { text-decoration: underline; }
audio { width: 15rem; height: 2rem; display: block; }
.pair, .pair span { display: flex; align-items: center; gap: .2rem 1rem; }
.pair span { gap: .4rem; }
pre { background: var(--panel); padding: 1rem; border-radius: 6px; overflow-x: auto;
  font-size: .85rem; }
summary { cursor: pointer; }
@media (max-width: 40rem) { body { padding: 1rem .75rem 3rem; } audio { width: 12rem; }
  .figures { grid-template-columns: 1fr; } svg text { font-size: 17px; }
  .pair { flex-direction: column; align-items: flex-start; } .wide { display: none; } }
@media print { audio { display: none; } }
"""

SCRIPT = """
document.addEventListener('play', event => {
  for (const sound of document.querySelectorAll('audio'))
    if (sound !== event.target) sound.pause();
}, true);
for (const table of document.querySelectorAll('table.sortable')) {
  const body = table.tBodies[0];
  table.querySelectorAll('thead th').forEach((head, column) => {
    if (head.classList.contains('fixed')) return;
    const button = document.createElement('button');
    button.append(...head.childNodes);
    head.append(button);
    let up = true;
    button.addEventListener('click', () => {
      const value = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const rows = [...body.rows];
      rows.sort((a, b) => {
        const x = value(a), y = value(b);
        if (x === '' || y === '') return (x === '') - (y === '');
        const by = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
        return up ? by : -by;
      });
      table.querySelectorAll('th').forEach(th => th.removeAttribute('aria-sort'));
      head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
      up = !up;
      body.append(...rows);
    });
  });
}
"""
