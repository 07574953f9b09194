"""Random cost function networks: fluidvm solve layout against toulbar2.

  solve_layout.py FLUIDVM [FIRST-SEED COUNT]      prints what differs, exits 1 if anything does
"""
import json, random, re, subprocess, sys

TOP = 10**9


def edges(kind, n, r):
    if kind == "grid":
        w = max(2, int(n**0.5))
        return [(i, i + 1) for i in range(n - 1) if (i + 1) % w] + [(i, i + w) for i in range(n - w)]
    if kind == "tree":
        return [(r.randrange(v), v) for v in range(1, n)]
    if kind == "layers":  # as networks with skips have them
        return [(u, v) for v in range(1, n) for u in range(max(0, v - 5), v)
                if u == v - 1 or r.random() < 0.3]
    if kind == "dense":  # blocks in which each reads all before it
        size = r.randint(4, 6)
        return [(u, v) for v in range(1, n) for u in range(v - v % size if v % size else v - 1, v)]
    density = r.choice((0.1, 0.2, 0.4))
    return [(u, v) for v in range(n) for u in range(v) if r.random() < density]


def table(kind, rows, cols, r):
    """Costs of a pair: any, with what is forbidden, of conversions, or that tie two labels together."""
    most = r.choice((3, 50, 1000))
    if kind == "conversions":
        return [0 if i == j else r.randint(1, most) for i in range(rows) for j in range(cols)]
    if kind == "bound" and rows == cols and r.random() < 0.4:
        to = r.sample(range(cols), cols)
        return [0 if to[i] == j else TOP for i in range(rows) for j in range(cols)]
    forbidden = 0.15 if kind != "any" else 0
    return [TOP if r.random() < forbidden else r.randint(0, most) for _ in range(rows * cols)]


def network(seed):
    r = random.Random(seed)
    shape = ("random", "grid", "tree", "layers", "dense")[seed % 5]
    costs = ("any", "forbidden", "conversions", "bound")[seed // 5 % 4]
    n = {"random": 14, "grid": 30, "tree": 60, "layers": 40, "dense": 30}[shape] + r.randrange(6)
    labels = r.randint(2, 5)
    size = [labels if costs != "any" else r.randint(1, labels + 1) for _ in range(n)]
    f = [((v,), [r.randint(0, 60) for _ in range(size[v])]) for v in range(n)]
    f += [((u, v), table(costs, size[u], size[v], r)) for u, v in edges(shape, n, r)]
    f.append(((), [r.randrange(100)]))
    return size, f


def text(size, functions, r):
    out = [f"x {len(size)} {max(size)} {len(functions)} {TOP}", " ".join(map(str, size))]
    for scope, cost in functions:
        otherwise = r.choice(cost)  # the rest are tuples
        tuples = [(k, c) for k, c in enumerate(cost) if c != otherwise]
        out.append(" ".join(map(str, (len(scope), *scope, otherwise, len(tuples)))))
        for k, c in tuples:
            label = (k,) if len(scope) == 1 else (k // size[scope[1]], k % size[scope[1]]) if scope else ()
            out.append(" ".join(map(str, (*label, c))))
    return "\n".join(out) + "\n"


def cost_of(size, functions, label):
    total = 0
    for scope, cost in functions:
        at = 0
        for v in scope:
            at = at * size[v] + label[v]
        total += cost[at]
    return total


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def compare(fluidvm, seed):
    size, functions = network(seed)
    with open("net.wcsp", "w") as f:
        f.write(text(size, functions, random.Random(seed)))
    want = re.search(r"Optimum: (\d+)|No solution", run("toulbar2", "net.wcsp").stdout)
    got = run(fluidvm, "solve", "layout", "net.wcsp", "--json")
    if not want:
        return "toulbar2 says nothing"
    if not want[1]:
        return "" if got.returncode == 1 else f"there is no solution, but the status is {got.returncode}"
    if got.returncode:
        return got.stderr
    x = json.loads(got.stdout)
    if x["status"] != "optimal" or x["cost"] != int(want[1]) or x["bound"] != x["cost"]:
        return f"{x['status']}, cost {x['cost']}, bound {x['bound']}; toulbar2: {want[1]}"
    if cost_of(size, functions, x["labels"]) != x["cost"]:
        return f"the labels do not cost {x['cost']}"
    return "" if x["certified"] <= x["cost"] else f"certified {x['certified']} of {x['cost']}"


def main():
    first, count = (int(a) for a in (sys.argv[2:] + ["0", "200"])[:2])
    wrong = [(s, w) for s in range(first, first + count) if (w := compare(sys.argv[1], s))]
    for seed, what in wrong:
        print(f"FAIL: seed {seed}: {what}")
    return bool(wrong)


sys.exit(main())
