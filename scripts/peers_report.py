#!/usr/bin/env python3
"""What peers.py measured, as a Markdown table and a plot.

  peers_report.py results.json [MORE.json ...]     writes results.md and results.svg beside the first, with the rows of all
  peers_report.py --short results.json [MORE.json ...]     prints a line a model, as in the README
"""
import html, json, math, os, sys

OURS, SMALL = "fluidvm", "fluidvm-small"


def value(row, engine, key):
    return row["engines"].get(engine, {}).get(key)


def best_peer(row, key):
    found = [v for e in row["engines"] if e not in (OURS, SMALL) and (v := value(row, e, key)) is not None]
    return min(found, default=None)


def order(result):
    return sorted(result["engines"], key=lambda e: (e != OURS, e != SMALL))


def number(v, digits=3):
    """So many significant digits, zeros included."""
    if v is None:
        return "–"
    places = digits - 1 - math.floor(math.log10(abs(v))) if v else digits - 1
    return f"{v:.{max(places, 0)}f}"


# ---- Markdown ----


class Notes:
    def __init__(self):
        self.text = []

    def mark(self, text):
        if text not in self.text:
            self.text.append(text)
        return f"[{self.text.index(text) + 1}]"


def cell(row, engine, key, notes, result, digits=3):
    r = row["engines"].get(engine)
    if r is None:
        return "–"
    if "error" in r:
        return f"failed {notes.mark(result['engines'][engine]['name'] + ' on ' + row['model'] + ': ' + r['error'])}"
    text = number(r[key], digits)
    return f"**{text}**" if engine == OURS else text


def ratio(row, key):
    ours, best = value(row, OURS, key), best_peer(row, key)
    return f"{ours / best:.2f}" if ours and best else "–"


def table(result, key, title, notes, more=None, digits=3):
    names = order(result)
    head = ["model", "threads"] + [result["engines"][e]["name"] for e in names] + ["to the best peer"] + (more[0] if more else [])
    out = [f"## {title}", "", "| " + " | ".join(head) + " |", "|" + "---|" * 2 + "--:|" * (len(head) - 2)]
    for row in result["rows"]:
        cells = [row["model"], str(row["threads"])] + [cell(row, e, key, notes, result, digits) for e in names] + [ratio(row, key)]
        out.append("| " + " | ".join(cells + (more[1](row) if more else [])) + " |")
    return out + [""]


def bound_cells(result):
    """The bound by the best peak and bandwidth seen on as many threads: a neighbour may disturb one measurement."""
    def best(row, key):
        return max(r["bound"][key] for r in result["rows"] if r.get("bound") and r["threads"] == row["threads"])

    def cells(row):
        b, ours = row.get("bound"), value(row, OURS, "min_ms")
        if not b:
            return ["–", "–"]
        ms = max(b["flops"] / best(row, "peak_gflops"), b["weight_bytes"] / best(row, "read_gbytes")) / 1e6
        return [number(ms), f"{100 * ms / ours:.0f} %" if ours else "–"]
    return cells


def machine_text(m):
    return f"{m['cpu']}, {m['cores']} cores, {m['isa']}, {m['memory_gib']} GiB, {m['system']}"


def versions(result):
    return ", ".join(f"{e['name']} {e['version']}".strip() for k, e in result["engines"].items() if k != SMALL)


def markdown(result):
    m, notes = result["machine"], Notes()
    bounds = [r["bound"] for r in result["rows"] if r.get("bound")]
    one = [r["bound"] for r in result["rows"] if r.get("bound") and r["threads"] == 1]
    out = ["# FluidVM and its peers", "",
           f"{machine_text(m)}; {result['date']}. fp32, batch 1, the same inputs; {versions(result)}. Made by "
           f"`scripts/bench-peers` in {result['rounds']} interleaved rounds of about half a second each.", ""]
    if one:
        out += [f"One core here: FMA peak {max(b['peak_gflops'] for b in one):.0f} GFLOP/s, read "
                f"{max(b['read_gbytes'] for b in one):.1f} GB/s.", ""]
    if m["load"] > 0.5:
        out += [f"The machine was not quiet: its load was {m['load']} when this began.", ""]
    if result.get("memory"):
        limits = ", ".join(f"{k} {v}" for k, v in result["memory"].items())
        out += [f"Less memory: planned with `--memory`, {limits}.", ""]
    out += ["![latency, memory and start side by side](results.svg)", ""]
    more = (["bound", "FluidVM of it"], bound_cells(result)) if bounds else None
    out += table(result, "min_ms", "Latency, ms (least)", notes, more)
    if bounds:
        out += ["The bound: the model's multiply-adds at the FMA peak, or its weights at the read bandwidth, whichever takes "
                "longer, on as many threads.", ""]
    out += table(result, "median_ms", "Latency, ms (median)", notes)
    out += table(result, "peak_mib", "Peak memory, MiB", notes)
    out += ["Of a peer: above what its process held before it was loaded. Of FluidVM: the whole process.", ""]
    out += table(result, "load_s", "Load to first output, s", notes, digits=2)
    out += ["Of a peer: from opening the model. Of FluidVM: of the whole process that runs once, "
            "least of three.", ""]
    out += differences(result)
    if notes.text:
        out += ["## Failed", ""] + [f"{i + 1}. {t}" for i, t in enumerate(notes.text)] + [""]
    return "\n".join(out)


def differences(result):
    first = next((e for e in result["engines"] if e not in (OURS, SMALL)), None)
    names = [e for e in order(result) if e != first]
    if not first:
        return []
    out = [f"## Largest difference to {result['engines'][first]['name']}, over the largest output", "",
           "| model | threads | " + " | ".join(result["engines"][e]["name"] for e in names) + " |",
           "|" + "---|" * 2 + "--:|" * len(names)]
    for row in result["rows"]:
        d = [value(row, e, "difference") for e in names]
        out.append(f"| {row['model']} | {row['threads']} | " + " | ".join("–" if x is None else f"{x:.1e}" for x in d) + " |")
    return out + [""]


# ---- SVG ----

COLOR = {OURS: "#1565c0", SMALL: "#7fb2e5", "ort": "#f2a65a", "openvino": "#8e7cc3", "mnn": "#7fb685"}
INK, SOFT, LINE, PAPER = "#1f2933", "#66727f", "#dfe4ea", "#ffffff"
BAR, STEP, GROUP, LEFT, TOP, PANEL, GAP, EDGE = 11, 15, 16, 150, 128, 268, 34, 28
FONT = "font-family=\"-apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif\""
PANELS = [("Latency", "times FluidVM's; ms beside", "min_ms", lambda v: f"{number(v)} ms"),
          ("Peak memory", "share of the largest; MiB beside", "peak_mib", lambda v: f"{v:.0f} MiB"),
          ("Load to first output", "share of the longest; s beside", "load_s", lambda v: f"{number(v, 2)} s")]


def text(x, y, s, size=12, color=INK, weight=400, anchor="start"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{color}" font-weight="{weight}" '
            f'text-anchor="{anchor}">{html.escape(s)}</text>')


def bar(x, y, width, engine):
    r = min(2.5, max(width, 0) / 2)
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{BAR}" rx="{r:.1f}" fill="{COLOR[engine]}"/>'


def group_height(names):
    return len(names) * STEP + GROUP


class Panel:
    """One column of bars; room is left behind them for the numbers."""

    ROOM = 92

    def __init__(self, result, k):
        self.title, self.what, self.key, self.unit = PANELS[k]
        self.x, self.names, self.result = LEFT + k * (PANEL + GAP), order(result), result
        self.relative = self.key == "min_ms"
        ratios = [self.share(row, e) for row in result["rows"] for e in self.names]
        self.most = max([r for r in ratios if r], default=1)

    def share(self, row, engine):
        v, ours = value(row, engine, self.key), value(row, OURS, self.key)
        if v is None:
            return None
        if self.relative:
            return v / ours if ours else None
        return v / max(value(row, e, self.key) or 0 for e in self.names)

    def width(self, share):
        return share / self.most * (PANEL - self.ROOM)

    def grid(self, bottom):
        out = [text(self.x, TOP - 34, self.title, 14, INK, 600), text(self.x, TOP - 18, self.what, 11, SOFT)]
        ticks = [0, 1] + [t for t in (1.5, 2, 3, 4) if t <= self.most] if self.relative else [0]
        for t in ticks:
            x = self.x + self.width(t)
            strong = t == 0 or t == 1 and self.relative
            out.append(f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{bottom}" stroke="{SOFT if strong else LINE}" '
                       f'stroke-width="{1 if strong else 0.8}"' + (' stroke-dasharray="3 3"' if t else "") + "/>")
            if t and self.relative:
                out.append(text(x, bottom + 14, f"{t:g}×", 10, SOFT, 400, "middle"))
        return out

    def draw(self, row, y):
        out = []
        for i, e in enumerate(self.names):
            top, v, s = y + i * STEP, value(row, e, self.key), self.share(row, e)
            if v is None or s is None:
                failed = "error" in row["engines"].get(e, {})
                said = f"{self.result['engines'][e]['name']} failed" if failed else "–"
                out.append(text(self.x + 5, top + 9.5, said, 10.5, SOFT))
                continue
            w, ours = self.width(s), e == OURS
            out.append(bar(self.x, top, w, e))
            label = self.unit(v) + (f" · {s:.2f}×" if self.relative and not ours else "")
            out.append(text(self.x + max(w, 1) + 5, top + 9.5, label, 10.5, INK if ours else SOFT, 600 if ours else 400))
        return out


def legend(result, x, y):
    out = []
    for e in order(result):
        r = result["engines"][e]
        name = f"{r['name']} {r['version']}".strip()
        out += [f'<rect x="{x}" y="{y - 9}" width="11" height="11" rx="2.5" fill="{COLOR[e]}"/>',
                text(x + 17, y + 0.5, name, 12, INK, 600 if e == OURS else 400)]
        x += 17 + 7.2 * len(name) + 26
    return out


def svg(result):
    names, rows = order(result), result["rows"]
    bottom = TOP + len(rows) * group_height(names) - GROUP / 2
    width, height = LEFT + 3 * PANEL + 2 * GAP + EDGE, bottom + 44
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" width="{width}" height="{height:.0f}" '
           f'role="img" {FONT}>', "<title>FluidVM and its peers: latency, memory, start</title>",
           f'<rect width="{width}" height="{height:.0f}" rx="10" fill="{PAPER}" stroke="{LINE}"/>',
           text(EDGE, 36, "FluidVM and its peers", 18, INK, 700),
           text(width - EDGE, 36, f"{machine_text(result['machine'])}; {result['date']}", 11, SOFT, 400, "end")]
    out += legend(result, EDGE, 62)
    panels = [Panel(result, k) for k in range(len(PANELS))]
    for i, row in enumerate(rows):
        y = TOP + i * group_height(names)
        if i % 2 == 0:
            out.append(f'<rect x="{EDGE - 12}" y="{y - GROUP / 2:.1f}" width="{width - 2 * EDGE + 24}" '
                       f'height="{group_height(names)}" rx="4" fill="#f6f8fa"/>')
        middle = y + len(names) * STEP / 2
        out += [text(EDGE, middle - 3, row["model"], 13, INK, 600),
                text(EDGE, middle + 12, f"{row['threads']} thread{'s' if row['threads'] != 1 else ''}", 11, SOFT)]
    for p in panels:
        out += p.grid(bottom)
        for i, row in enumerate(rows):
            out += p.draw(row, TOP + i * group_height(names))
    note = f"fp32, batch 1; least of {result['rounds']} interleaved rounds; shorter is better"
    out += [text(width - EDGE, bottom + 30, note, 11, SOFT, 400, "end"), "</svg>", ""]
    return "\n".join(out)


# ---- several runs, and short ----


def merge(results):
    """Rows of all; those of later ones take the places of equal ones."""
    whole, rows = dict(results[0]), {}
    for r in results:
        rows.update({(x["model"], x["threads"]): x for x in r["rows"]})
        whole["engines"] = {**whole["engines"], **r["engines"]}
        whole["memory"] = {**(whole.get("memory") or {}), **(r.get("memory") or {})}
    whole["rows"], whole["date"] = list(rows.values()), max(r["date"] for r in results)
    whole["rounds"] = min(r["rounds"] for r in results)
    whole["machine"] = dict(whole["machine"], load=max(r["machine"]["load"] for r in results))
    return whole


def short(result):
    """Latency at each number of threads; memory at the least; start at the most, of ours and of the first peer."""
    names = order(result)
    peers = [e for e in names if e not in (OURS, SMALL)]
    head = ["model"] + [result["engines"][e]["name"] for e in names] + ["memory", "theirs", "start"]
    out = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for model in dict.fromkeys(r["model"] for r in result["rows"]):
        rows = sorted((r for r in result["rows"] if r["model"] == model), key=lambda r: r["threads"])
        times = [[value(r, e, "min_ms") for r in rows] for e in names]
        latency = [" / ".join(number(v) for v in t) if any(t) else "" for t in times]
        memory = [", ".join(f"{v:.0f}" for e in of if (v := value(rows[0], e, "peak_mib"))) for of in
                  ([e for e in names if e not in peers], peers)]
        start = " : ".join(f"{v:.2f}" for e in (OURS, *peers[:1]) if (v := value(rows[-1], e, "load_s")) is not None)
        out.append("| " + " | ".join([model] + latency + memory + [start + " s"]) + " |")
    return "\n".join(out)


def write(result, folder):
    for name, content in (("results.md", markdown(result)), ("results.svg", svg(result))):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
            f.write(content)


def main(args):
    files = [a for a in args if a != "--short"]
    if not files:
        sys.exit(__doc__)
    results = []
    for name in files:
        with open(name, encoding="utf-8") as f:
            results.append(json.load(f))
    result = merge(results)
    if len(files) < len(args):
        print(short(result))
    else:
        write(result, os.path.dirname(os.path.abspath(files[0])))


if __name__ == "__main__":
    main(sys.argv[1:])
