-- Version 1 of the measurement database. Later versions are steps in db_open.c.
-- Times are nanoseconds. Hashes are 16 hexadecimal digits.

-- A board: everything that can move a number, as one text (profiles/machine.h).
CREATE TABLE machine(
  id INTEGER PRIMARY KEY,
  fingerprint TEXT NOT NULL UNIQUE,
  cpu TEXT NOT NULL,
  cores INTEGER NOT NULL,
  isa TEXT NOT NULL,
  text TEXT NOT NULL);

-- A build of the tool and its micro-kernels: compiler, flags, hash of the sources.
CREATE TABLE build(
  id INTEGER PRIMARY KEY,
  text TEXT NOT NULL UNIQUE);

CREATE TABLE model(
  id INTEGER PRIMARY KEY,
  hash TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL);

-- An operator with attributes, shapes and element types: equal ones share measurements.
CREATE TABLE problem(
  id INTEGER PRIMARY KEY,
  hash TEXT NOT NULL UNIQUE,
  op TEXT NOT NULL,
  text TEXT NOT NULL);

-- Nodes of a model after its passes, in order of execution.
CREATE TABLE node(
  model INTEGER NOT NULL REFERENCES model(id),
  seq INTEGER NOT NULL,
  name TEXT NOT NULL,
  problem INTEGER NOT NULL REFERENCES problem(id),
  PRIMARY KEY(model, seq)) WITHOUT ROWID;
CREATE INDEX node_problem ON node(problem);

-- One way to run a problem: algorithm, knobs, layouts, threads.
CREATE TABLE candidate(
  id INTEGER PRIMARY KEY,
  problem INTEGER NOT NULL REFERENCES problem(id),
  label TEXT NOT NULL,
  UNIQUE(problem, label));

-- What came of running a candidate.
CREATE TABLE run(
  id INTEGER PRIMARY KEY,
  machine INTEGER NOT NULL REFERENCES machine(id),
  build INTEGER NOT NULL REFERENCES build(id),
  protocol INTEGER NOT NULL,         -- version of the way of measuring
  candidate INTEGER NOT NULL REFERENCES candidate(id),
  engine TEXT NOT NULL,              -- jit, or interp: what the executor uses
  status TEXT NOT NULL,              -- ok, lost, wrong, crashed, timeout, unsupported, noisy
  reason TEXT,                       -- of any status but ok
  min_ns INTEGER,
  median_ns INTEGER,
  mad_ns INTEGER,                    -- median absolute deviation
  n INTEGER NOT NULL,                -- samples kept
  dropped INTEGER NOT NULL,          -- samples thrown away: context switch, migration, noise
  samples TEXT,                      -- all kept samples, a JSON array
  counters TEXT,                     -- of one run, a JSON object
  environment TEXT,                  -- load, clock, temperature then, a JSON object
  started_at TEXT NOT NULL,          -- UTC
  finished INTEGER NOT NULL,         -- the race it took part in went to its end; 2: finals repeated
  UNIQUE(candidate, machine, build, protocol, engine));

-- Cost of every sound candidate: under the interpreter where that was measured, else compiled.
CREATE VIEW v_cost AS
  SELECT machine, build, protocol, candidate.problem AS problem, candidate.id AS candidate, label,
         CASE WHEN MAX(engine = 'interp') THEN MAX(CASE engine WHEN 'interp' THEN min_ns END)
              ELSE MAX(min_ns) END AS ns,
         MAX(CASE engine WHEN 'jit' THEN status END) AS status
    FROM run JOIN candidate ON candidate.id = run.candidate
   WHERE min_ns IS NOT NULL AND status IN ('ok', 'lost', 'noisy')
   GROUP BY machine, build, protocol, candidate.id;

-- The best candidate of each problem; ties go to the one that was there first.
CREATE VIEW v_best AS
  SELECT machine, build, protocol, problem, op, text, candidate, label, ns
    FROM (SELECT v_cost.*, op, text,
                 ROW_NUMBER() OVER (PARTITION BY machine, build, protocol, problem
                                    ORDER BY ns, candidate) AS place
            FROM v_cost JOIN problem ON problem.id = v_cost.problem)
   WHERE place = 1;

-- Nodes of each model with the best candidate of their problem, if one was measured.
CREATE VIEW v_nodes AS
  SELECT model.name AS model, node.seq AS seq, node.name AS node, problem.op AS op,
         problem.text AS text, v_best.machine AS machine, v_best.build AS build,
         v_best.label AS label, v_best.ns AS ns
    FROM node JOIN model ON model.id = node.model
              JOIN problem ON problem.id = node.problem
              LEFT JOIN v_best ON v_best.problem = node.problem
   ORDER BY model.id, node.seq;
