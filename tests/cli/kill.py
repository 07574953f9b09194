"""kill.py FLUIDVM MODEL KILLS [SECONDS [SEED [NOISE [KEEP]]]]: fluidvm profile is killed (-9) at random moments, at most SECONDS
after its start, and goes on each time. After each kill the database must open and verify, and hold every sample that
was reported, but at most the last one of each label: one round. When a run comes to its end, its plan must be that of
a run that nobody killed, or one that by that run's costs is slower by a factor of NOISE (any) at most; then the next
kills are of a new database. How much slower the plan of a second run that nobody killed is, is said beside it: that is
what the machine's noise does. What no noise excuses: a database gives one plan, to the byte, twice in a row and before
and after a kill between which it got no sample. KEEP: a folder for want.sqlite and other.sqlite, of the runs that nobody
killed, and killed.sqlite, the last one."""

import hashlib
import json
import os
import random
import re
import shutil
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
keep = sys.argv[7] if len(sys.argv) > 7 else None
folder = tempfile.TemporaryDirectory()
stat = Counter()


def fluidvm(*args):
    p = subprocess.run([tool, *args], capture_output=True, text=True)
    if p.returncode != 0:
        sys.exit(f"kill.py: {' '.join(args)}: status {p.returncode}: {p.stderr}{p.stdout}")
    return p.stdout


PROFILE = [tool, "profile", model, "--threads", "1", "--exhaustive", "--json", "--quiet", "--db"]


def profile(db, kill_after=None):
    """The events that were written before the end, and whether that was the kill."""
    out = os.path.join(folder.name, "out")
    with open(out, "w") as f:
        p = subprocess.Popen([*PROFILE, db], stdout=f, stderr=subprocess.DEVNULL)
        if kill_after is not None:
            time.sleep(kill_after)
            p.kill()
        status = p.wait()
    if status not in (0, -9):
        sys.exit(f"kill.py: profile: status {status}")
    with open(out) as f:
        lines = f.read().split("\n")[:-1]  # what is behind the last end of a line was cut off
    return [json.loads(line) for line in lines], status == -9


def kill_at_begin(db):
    """Kill a profile that has said what there is to measure, and has measured nothing or little."""
    with subprocess.Popen([*PROFILE, db], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as p:
        first = p.stdout.readline()
        p.kill()
        p.wait()
    if '"begin"' not in first or p.returncode != -9:
        sys.exit(f"kill.py: profile: status {p.returncode} after '{first}'")


def rows(db, sql):
    c = sqlite3.connect(f"file:{db}?mode=ro", uri=True)
    found = c.execute(sql).fetchall()
    c.close()
    return found


def runs(db):
    """How many there are; 0 without a database, too."""
    try:
        return rows(db, "SELECT COUNT(*) FROM run")[0][0]
    except sqlite3.OperationalError:
        return 0


def copy_of(db, to=None):
    to = to or os.path.join(folder.name, "copy.sqlite")
    with sqlite3.connect(db) as c:
        c.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    c.close()
    return shutil.copy(db, to)


def check_kept(db, events):
    reported, races, race_of = Counter(), Counter(), {}
    for e in events:
        if e["event"] == "race":
            races[e["problem"]] += 1
        elif e["event"] == "sample":
            key = e["problem"], e["label"]
            if race_of.get(key) != races[key[0]]:  # what comes of a race takes the place of what came of one before
                race_of[key], reported[key] = races[key[0]], 0
            reported[key] += 1
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


def plan(db, *args):
    """Labels of the plan, a file that pins them, and the predicted latency."""
    out = os.path.join(folder.name, "x.plan")
    said = json.loads(fluidvm("plan", model, "--db", db, "--threads", "1", "-o", out, "--json", "--quiet", *args))
    pins = fluidvm("dump", "--pins", out)
    file = os.path.join(folder.name, "pins.yaml")
    with open(file, "w") as f:
        f.write(pins)
    return dict(re.findall(r'- node: "(.*)"\n  use: "(.*)"', pins)), file, said["predicted_ns"]


def compare_plan(db, whose):
    got, pins, _ = plan(db)
    stat[f"{whose} plans"] += 1
    stat[f"steps of {whose} plans"] += len(got)
    others = sum(got.get(node) != label for node, label in want.items())
    stat[f"other labels in {whose} plans"] += others
    slower = plan(want_db, "--pin", pins)[2] / want_ns if others else 1
    key = f"per mille slower {whose} plans at most"
    stat[key] = max(stat[key], round(1000 * (slower - 1)))
    return slower


def plan_bytes(db):
    out = os.path.join(folder.name, "bytes.plan")
    fluidvm("plan", model, "--db", db, "--threads", "1", "-o", out, "--quiet")
    with open(out, "rb") as f:
        return hashlib.sha256(f.read()).digest()


def check_same_plan(db, tries=20):
    """Kills that cost no sample leave the plan as it was."""
    for _ in range(tries):
        measured, before = rows(db, "SELECT * FROM run ORDER BY id"), plan_bytes(db)
        kill_at_begin(db)
        check_opens(db)
        if rows(db, "SELECT * FROM run ORDER BY id") != measured:
            continue
        if plan_bytes(db) != before:
            sys.exit("kill.py: a kill between which nothing was measured changes the plan")
        stat["plans equal to the byte before and after a kill"] += 1
        stat["samples in them"] = rows(db, "SELECT SUM(n) FROM run")[0][0]
        return
    sys.exit(f"kill.py: in {tries} tries each profile had measured before it was killed")


want_db = os.path.join(keep or folder.name, "want.sqlite")
profile(want_db)
want, _, want_ns = plan(want_db)
stat["labels"] = rows(want_db, "SELECT COUNT(*) FROM run WHERE engine = 'jit'")[0][0]
other_db = os.path.join(keep or folder.name, "other.sqlite")
profile(other_db)
compare_plan(other_db, "never killed")
number = 0
while stat["kills"] < kills:
    number += 1
    db = os.path.join(folder.name, f"{number}.sqlite")
    killed = True
    while killed:
        last = stat["kills"] == kills
        if last:
            stat["runs when the last kill had been"] = runs(db)
            check_same_plan(db if runs(db) else copy_of(want_db))
        events, killed = profile(db, None if last else rng.uniform(0, seconds))
        stat["kills"] += killed
        if killed:
            check_opens(db)
            check_kept(db, events)
    check_opens(db)
    again, _ = profile(db)
    if again[-1]["samples"] != 0 or not again[-1]["complete"]:
        sys.exit("kill.py: a run came to its end, and the next one goes on measuring")
    if plan_bytes(db) != plan_bytes(db):
        sys.exit("kill.py: two plans from one database differ")
    stat["plans equal to the byte twice in a row"] += 1
    slower = compare_plan(db, "killed")
    if slower > noise:
        sys.exit(f"kill.py: the plan is {slower:.3f} times slower")
if keep:
    copy_of(db, os.path.join(keep, "killed.sqlite"))
print("\n".join(f"{n:8} {what}" for what, n in stat.items()))
