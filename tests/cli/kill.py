"""kill.py FLUIDVM MODEL KILLS [SECONDS [SEED [NOISE]]]: fluidvm profile is killed (-9) at random moments, at most SECONDS
after its start, and goes on each time. After each kill the database must open and verify, and hold every sample that
was reported, but at most the last one of each label: one round. When a run comes to its end, its plan must be that of
a run that nobody killed, but for labels that are within a factor of NOISE (any) of each other in one of the two
databases; then the next kills are of a new database."""

import json
import os
import random
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter

tool, model, kills = sys.argv[1], sys.argv[2], int(sys.argv[3])
seconds = float(sys.argv[4]) if len(sys.argv) > 4 else 0.3
rng = random.Random(int(sys.argv[5]) if len(sys.argv) > 5 else 1)
noise = float(sys.argv[6]) if len(sys.argv) > 6 else float("inf")
folder = tempfile.TemporaryDirectory()
stat = Counter()


def fluidvm(*args):
    p = subprocess.run([tool, *args], capture_output=True, text=True)
    if p.returncode != 0:
        sys.exit(f"kill.py: {' '.join(args)}: status {p.returncode}: {p.stderr}{p.stdout}")
    return p.stdout


def profile(db, kill_after=None):
    """The events that were written before the end, and whether that was the kill."""
    args = [tool, "profile", model, "--db", db, "--threads", "1", "--json", "--quiet"]
    out = os.path.join(folder.name, "out")
    with open(out, "w") as f:
        p = subprocess.Popen(args, stdout=f, stderr=subprocess.DEVNULL)
        if kill_after is not None:
            time.sleep(kill_after)
            p.kill()
        status = p.wait()
    if status not in (0, -9):
        sys.exit(f"kill.py: profile: status {status}")
    with open(out) as f:
        lines = f.read().split("\n")[:-1]  # what is behind the last end of a line was cut off
    return [json.loads(line) for line in lines], status == -9


def rows(db, sql):
    c = sqlite3.connect(f"file:{db}?mode=ro", uri=True)
    found = c.execute(sql).fetchall()
    c.close()
    return found


def check_kept(db, events):
    reported = Counter((e["problem"], e["label"]) for e in events if e["event"] == "sample")
    kept = {(t, l): (n, dropped) for t, l, n, dropped in rows(
        db, "SELECT text, label, n, dropped FROM run JOIN candidate c ON c.id = candidate "
            "JOIN problem p ON p.id = c.problem WHERE engine = 'jit'")} if reported else {}
    for label, n in reported.items():
        have, dropped = kept.get(label, (0, 0))
        if have + dropped < n - 1:
            sys.exit(f"kill.py: {label}: {have} of {n} samples are kept")
        stat["lost"] += max(0, n - have - dropped)


def check_opens(db):
    if not os.path.exists(db) or os.path.getsize(db) == 0:
        stat["before the first row"] += 1
        return
    p = subprocess.run([tool, "db", "verify", db], capture_output=True, text=True)
    if p.returncode != 0 and "is empty" not in p.stderr:
        sys.exit(f"kill.py: db verify: {p.stderr}{p.stdout}")


def plan(db):
    out = os.path.join(folder.name, "x.plan")
    fluidvm("plan", model, "--db", db, "--threads", "1", "-o", out)
    text = fluidvm("dump", "--pins", out)
    return dict(re.findall(r'- node: "(.*)"\n  use: "(.*)"', text))


def cost(db, node, label):
    found = rows(db, "SELECT ns FROM v_cost JOIN node USING(problem) "
                     f"WHERE name = '{node}' AND label = '{label}'")
    return found[0][0] if found else None


def check_plan(db, want, want_db):
    got = plan(db)
    stat["plans"] += 1
    stat["steps"] += len(got)
    for node in set(got) | set(want):
        a, b = got.get(node), want.get(node)
        if a == b:
            continue
        stat["other labels"] += 1
        pairs = [(cost(d, node, a), cost(d, node, b)) for d in (db, want_db)]
        ratio = min((max(x) / min(x) for x in pairs if None not in x), default=1)
        stat["largest gap, per mille"] = max(stat["largest gap, per mille"], round(1000 * (ratio - 1)))
        if ratio > noise:
            sys.exit(f"kill.py: {node}: {a} instead of {b}, {ratio:.2f} times apart in both databases")


want_db = os.path.join(folder.name, "want.sqlite")
profile(want_db)
want = plan(want_db)
stat["labels"] = rows(want_db, "SELECT COUNT(*) FROM run WHERE engine = 'jit'")[0][0]
number = 0
while stat["kills"] < kills:
    number += 1
    db = os.path.join(folder.name, f"{number}.sqlite")
    killed = True
    while killed:
        last = stat["kills"] == kills
        events, killed = profile(db, None if last else rng.uniform(0, seconds))
        stat["kills"] += killed
        if killed:
            check_opens(db)
            check_kept(db, events)
    check_opens(db)
    if rows(db, "SELECT COUNT(*) FROM run WHERE engine = 'jit'")[0][0] != stat["labels"]:
        sys.exit("kill.py: not every label was measured")
    check_plan(db, want, want_db)
print(", ".join(f"{n} {what}" for what, n in stat.items()))
