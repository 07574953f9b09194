#!/usr/bin/env python3
"""Which algorithm won which convolution, and why: a Markdown table from fluidvm explain --json.

  conv_table.py --fluidvm build/fluidvm --models models --db DIR/%s.sqlite [--plans DIR/%s.%s.plan]
                [--out docs/bench/convolutions.md] [NAME ...]

%s stands for the model's name, in --plans then for the number of threads; what is no file there is planned from the
database first.
"""
import argparse, collections, json, os, statistics, subprocess, sys, tempfile

NAMES = ["squeezenet", "mobilenetv2", "googlenet", "resnet50", "vgg16"]
WHAT = {
    "conv_winograd": "Winograd's F(m,3)",
    "conv_gemm": "product, 1x1",
    "conv_strassen": "Strassen's product, 1x1",
    "conv_direct": "direct, channels last or blocked",
    "conv_im2col": "columns in panels, planes",
    "conv_dw": "depthwise, planes",
    "conv_dw_last": "depthwise, channels last",
    "chain_direct": "direct or product, with the pool or depthwise behind it",
    "chain_winograd": "Winograd's, with the pool or depthwise behind it",
}


def explain(a, name, threads, folder):
    model, db = f"{a.models}/{name}.onnx", a.db % name
    plan = a.plans % (name, threads) if a.plans else ""
    if not os.path.exists(plan):
        plan = f"{folder}/plan"
        subprocess.run([a.fluidvm, "plan", model, "--db", db, "--threads", str(threads), "-q", "-o", plan], check=True)
    out = subprocess.run([a.fluidvm, "explain", plan, "--model", model, "--db", db, "--json", "--runs", str(a.runs)],
                         check=True, stdout=subprocess.PIPE).stdout
    x = json.loads(out)
    rows = []
    for c in x["convolutions"]:
        rivals = [r for r in c["rivals"] if r["threads"] <= threads]
        own = next((r for r in rivals if r["chosen"] and r["ns"]), None)
        if own:
            rows.append(dict(c, own=own, rivals=rivals))
    return {"name": name, "threads": threads, "rows": rows, "all": x, "missing": len(x["convolutions"]) - len(rows)}


def share_peak(runs):
    """The best peak seen on as many threads is that of all runs: a neighbour may disturb one measurement."""
    for x in runs:
        peak = max(y["all"]["peak_gflops"] for y in runs if y["threads"] == x["threads"])
        x["peak"] = peak
        for c in x["rows"]:
            c["peak"] = peak
            if c["limit"] == "flops":
                c["bound_ns"] = c["flops"] / peak


# ---- one convolution ----


def work(c, r):
    return r["flops"] / c["flops"] if c["flops"] and r["flops"] >= 0 else None


def rate(c, r):
    """Share of the peak at which a program does its own multiply-adds."""
    return r["flops"] / r["ns"] / c["peak"] if r["flops"] >= 0 else None


def second(c, key):
    """The fastest that differs from the plan's in one thing."""
    return min((r for r in c["rivals"] if r[key] != c["own"][key]), key=lambda r: r["ns"], default=None)


def knobs(r):
    skip = ("in=", "out=", "threads=", "ahead=", "split=0", "nest=0", "pack=0")
    return " ".join(w for w in r["label"].split()[1:] if not w.startswith(skip))


def short(candidate):
    return candidate.removeprefix("conv_")


def number(v, form):
    return "–" if v is None else format(v, form)


def rival_cell(c, key):
    r = second(c, key)
    if not r:
        return "–"
    name = short(r["candidate"]) if key == "candidate" else r["layouts"]
    detail = f" ({number(work(c, r), '.2f')} at {number(rate(c, r), '.0%')})" if key == "candidate" else ""
    return f"{name} {r['ns'] / c['own']['ns']:.2f}{detail}"


def row(c):
    own = c["own"]
    extra = max(own["weight_bytes"] - c["plain_weight_bytes"], 0) / 1024
    mark = " ²" if c["limit"] == "values" else ""
    return [str(c["count"]), c["shape"], f"**{short(own['candidate'])}** {own['layouts']}, {knobs(own)}",
            f"{own['ns'] / 1e3:.0f}", f"{c['bound_ns'] / own['ns']:.0%}{mark}",
            f"{number(work(c, own), '.2f')} at {number(rate(c, own), '.0%')}", rival_cell(c, "candidate"),
            rival_cell(c, "layouts"), f"{own['scratch_bytes'] / 1024:.0f}", f"{own['weight_bytes'] / 1024:.0f}",
            f"{extra:.0f}", f"{own['error']:.0e}" if "error" in own else "–"]


HEAD = ["n", "convolution", "won by", "us each", "of bound", "work, rate", "next algorithm", "next layouts", "scratch KiB",
        "weights KiB", "of them extra", "error"]


def markdown_table(head, rows, left):
    out = ["| " + " | ".join(head) + " |", "|" + "".join("---|" if h in left else "--:|" for h in head)]
    return out + ["| " + " | ".join(r) + " |" for r in rows] + [""]


# ---- all of them ----


def spread(values, form):
    v = sorted(values)
    if not v:
        return "–"
    low, high = format(v[0], form), format(v[-1], form)
    return low if low == high else f"{low} – {high}, {format(statistics.median(v), form)}"


def by_algorithm(runs):
    won = collections.defaultdict(list)
    for x in runs:
        for c in x["rows"]:
            won[c["own"]["candidate"]].append(c)
    rows = []
    for name, cs in sorted(won.items(), key=lambda i: -sum(c["count"] for c in i[1])):
        after = [second(c, "candidate")["ns"] / c["own"]["ns"] for c in cs if second(c, "candidate")]
        kernels = collections.Counter(c["shape"].split(" ")[0] for c in cs for _ in range(c["count"]))
        layouts = collections.Counter(c["own"]["layouts"] for c in cs for _ in range(c["count"]))
        rows.append([f"**{short(name)}**: {WHAT.get(name, '')}", str(sum(c["count"] for c in cs)),
                     ", ".join(f"{k} ({n})" for k, n in kernels.most_common(4)),
                     ", ".join(f"{k} ({n})" for k, n in layouts.most_common()),
                     spread([w for c in cs if (w := work(c, c["own"])) is not None], ".2f"),
                     spread([w for c in cs if (w := rate(c, c["own"])) is not None], ".0%"), spread(after, ".2f"),
                     f"{max(c['own']['scratch_bytes'] for c in cs) / 1024:.0f}",
                     f"{max(c['own'].get('error', 0) for c in cs):.0e}"])
    head = ["algorithm", "wins", "kernels", "layouts", "work", "rate", "next algorithm takes", "most scratch KiB",
            "most error"]
    return markdown_table(head, rows, head[:1] + head[2:4])


def by_model(runs):
    names = sorted({c["own"]["candidate"] for x in runs for c in x["rows"]})
    layouts = sorted({c["own"]["layouts"] for x in runs for c in x["rows"]})
    rows = []
    for x in runs:
        count, spent = collections.Counter(), 0
        for c in x["rows"]:
            count[c["own"]["candidate"]] += c["count"]
            count[c["own"]["layouts"]] += c["count"]
            spent += c["count"] * c["own"]["ns"]
        bound = sum(c["count"] * c["bound_ns"] for c in x["rows"])
        rows.append([x["name"], str(x["threads"])] + [str(count[k] or "–") for k in names + layouts] +
                    [f"{spent / 1e6:.2f}", f"{bound / spent:.0%}" if spent else "–"])
    head = ["model", "threads"] + [short(n) for n in names] + layouts + ["all, ms", "of bound"]
    return markdown_table(head, rows, head[:1])


def report(runs):
    first = runs[0]["all"]
    peaks = {x["threads"]: x["peak"] for x in runs}
    out = ["# Which algorithm won which convolution", "",
           f"{first['machine']}; FMA peak " + ", ".join(f"{v:.0f} GFLOP/s on {k} thread{'s' * (k > 1)}"
                                                        for k, v in sorted(peaks.items())) +
           ". Made by `scripts/conv_table.py` from `fluidvm explain --json`; how the algorithms work: "
           "[convolutions.md](../convolutions.md). Times are those that the planner saw, each convolution measured by "
           "itself with what is fused into it.", "",
           "*Bound*: the textbook's multiply-adds at the peak, so Winograd's and Strassen's methods may pass 100 %; "
           "² means that moving the values through level 2 takes longer than the multiply-adds. *Work, rate*: how many of "
           "the textbook's multiply-adds the program makes (virtual counters), and at what share of the peak it makes "
           "its own; a winner either makes fewer, or makes them faster. *Next*: the fastest other algorithm, and the "
           "fastest in other layouts, in times of the winner; below 1 where that one's neighbours would have had to "
           "convert. *Scratch*, *extra* (weights beyond the model's own): what `--memory` can forbid. *Error*: largest "
           "difference to the plain reference over the largest value, which `--max-error` can forbid.", "",
           "## By algorithm", "",
           "Layers of all models and thread counts below together; ranges are least – most, median.", ""]
    out += by_algorithm(runs) + ["## By model", ""] + by_model(runs)
    for x in runs:
        out += [f"## {x['name']}, {x['threads']} thread{'s' * (x['threads'] > 1)}", ""]
        out += markdown_table(HEAD, [row(c) for c in x["rows"]], HEAD[1:3] + HEAD[6:8])
        if x["missing"]:
            out += [f"Of {x['missing']} more the database has no time of the plan's label.", ""]
    return "\n".join(out)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--fluidvm", default="build/fluidvm")
    p.add_argument("--models", default="models", help="folder of NAME.onnx")
    p.add_argument("--db", required=True)
    p.add_argument("--plans")
    p.add_argument("--threads", default="1,2")
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--out", default="docs/bench/convolutions.md")
    p.add_argument("names", nargs="*", default=NAMES)
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = [explain(a, n, int(t), folder) for n in a.names for t in a.threads.split(",")]
    share_peak(runs)
    if not any(x["rows"] for x in runs):
        sys.exit("conv_table: the database has no convolution of these plans; was it filled by this build?")
    with open(a.out, "w", encoding="utf-8") as f:
        f.write(report(runs))


if __name__ == "__main__":
    main()
