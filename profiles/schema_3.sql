-- Version 3: measurements of a problem differ by where its weights are when a run begins.
DROP VIEW v_nodes;
DROP VIEW v_best;
DROP VIEW v_cost;
ALTER TABLE model ADD COLUMN state TEXT NOT NULL DEFAULT 'warm';

-- Versions before measured what is nearest to warm.
CREATE TABLE run_3(
  id INTEGER PRIMARY KEY,
  machine INTEGER NOT NULL REFERENCES machine(id),
  build INTEGER NOT NULL REFERENCES build(id),
  protocol INTEGER NOT NULL,         -- version of the way of measuring
  candidate INTEGER NOT NULL REFERENCES candidate(id),
  state TEXT NOT NULL,               -- of its data (states.def)
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
  error REAL,                        -- largest difference over the largest output; NULL: unknown
  UNIQUE(candidate, machine, build, protocol, state, engine));
INSERT INTO run_3
  SELECT id, machine, build, protocol, candidate, 'warm', engine, status, reason, min_ns, median_ns,
         mad_ns, n, dropped, samples, counters, environment, started_at, finished, error FROM run;
DROP TABLE run;
ALTER TABLE run_3 RENAME TO run;

-- Cost of every sound candidate: under the interpreter where that was measured, else compiled.
CREATE VIEW v_cost AS
  SELECT machine, build, protocol, state, candidate.problem AS problem,
         candidate.id AS candidate, label,
         CASE WHEN MAX(engine = 'interp') THEN MAX(CASE engine WHEN 'interp' THEN min_ns END)
              ELSE MAX(min_ns) END AS ns,
         MAX(CASE engine WHEN 'jit' THEN status END) AS status
    FROM run JOIN candidate ON candidate.id = run.candidate
   WHERE min_ns IS NOT NULL AND status IN ('ok', 'lost', 'noisy')
   GROUP BY machine, build, protocol, state, candidate.id;

-- The best candidate of each problem in each state; ties go to the one that was there first.
CREATE VIEW v_best AS
  SELECT machine, build, protocol, state, problem, op, text, candidate, label, ns
    FROM (SELECT v_cost.*, op, text,
                 ROW_NUMBER() OVER (PARTITION BY machine, build, protocol, state, problem
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
              LEFT JOIN v_best ON v_best.problem = node.problem AND v_best.state = model.state
   ORDER BY model.id, node.seq;
