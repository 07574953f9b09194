-- Take over into this database (main) what another one (other) holds. Rows are the same when their
-- natural keys are: fingerprints, texts, hashes, labels; ids differ from file to file.
--
-- Where both have a row, the greater of the two stays, by one order of all rows. So merging is
-- idempotent, and what comes out depends neither on the order of the files nor on who merges whom.
INSERT INTO main.machine(fingerprint, cpu, cores, isa, text)
  SELECT fingerprint, cpu, cores, isa, text FROM other.machine WHERE true ON CONFLICT DO NOTHING;
INSERT INTO main.build(text) SELECT text FROM other.build WHERE true ON CONFLICT DO NOTHING;
INSERT INTO main.problem(hash, op, text)
  SELECT hash, op, text FROM other.problem WHERE true ON CONFLICT DO NOTHING;
INSERT INTO main.model(hash, name, state) SELECT hash, name, state FROM other.model WHERE true
  ON CONFLICT(hash) DO UPDATE SET name = MAX(name, excluded.name),
                                  state = MAX(state, excluded.state);
INSERT INTO main.candidate(problem, label, work)
  SELECT p.id, c.label, c.work FROM other.candidate AS c JOIN other.problem AS o ON o.id = c.problem
                                                 JOIN main.problem AS p ON p.hash = o.hash
   WHERE true
  ON CONFLICT(problem, label) DO UPDATE SET work = excluded.work
   WHERE IFNULL(excluded.work, '') > IFNULL(work, '');

-- The newest measurement that was finished. Both rows of a candidate, compiled and interpreted, are
-- of one moment, so they come from one file.
INSERT INTO main.run(machine, build, protocol, candidate, state, engine, status, reason, min_ns,
                     median_ns, mad_ns, n, dropped, samples, counters, environment, started_at,
                     finished, error)
  SELECT m.id, b.id, r.protocol, c.id, r.state, r.engine, r.status, r.reason, r.min_ns, r.median_ns,
         r.mad_ns, r.n, r.dropped, r.samples, r.counters, r.environment, r.started_at, r.finished,
         r.error
    FROM other.run AS r
    JOIN other.machine AS om ON om.id = r.machine
    JOIN main.machine AS m ON m.fingerprint = om.fingerprint
    JOIN other.build AS ob ON ob.id = r.build
    JOIN main.build AS b ON b.text = ob.text
    JOIN other.candidate AS oc ON oc.id = r.candidate
    JOIN other.problem AS op ON op.id = oc.problem
    JOIN main.problem AS p ON p.hash = op.hash
    JOIN main.candidate AS c ON c.problem = p.id AND c.label = oc.label
   WHERE true
  ON CONFLICT(candidate, machine, build, protocol, state, engine) DO UPDATE SET
    status = excluded.status, reason = excluded.reason, min_ns = excluded.min_ns,
    median_ns = excluded.median_ns, mad_ns = excluded.mad_ns, n = excluded.n,
    dropped = excluded.dropped, samples = excluded.samples, counters = excluded.counters,
    environment = excluded.environment, started_at = excluded.started_at,
    finished = excluded.finished, error = excluded.error
   WHERE (excluded.finished, excluded.started_at, excluded.n, excluded.status,
          IFNULL(excluded.reason, ''), IFNULL(excluded.min_ns, 0), IFNULL(excluded.median_ns, 0),
          IFNULL(excluded.mad_ns, 0), excluded.dropped, IFNULL(excluded.samples, ''),
          IFNULL(excluded.counters, ''), IFNULL(excluded.environment, ''),
          IFNULL(excluded.error, -1))
       > (finished, started_at, n, status, IFNULL(reason, ''), IFNULL(min_ns, 0),
          IFNULL(median_ns, 0), IFNULL(mad_ns, 0), dropped, IFNULL(samples, ''),
          IFNULL(counters, ''), IFNULL(environment, ''), IFNULL(error, -1));

-- A model's nodes are one list: the longer one, or that of the greater text.
CREATE TEMP TABLE nodes AS
  SELECT hash, COUNT(*) AS n, group_concat(item, char(10)) AS list
    FROM (SELECT o.hash AS hash, node.name || ' ' || p.hash || ' ' || node.state AS item
            FROM other.node AS node JOIN other.model AS o ON o.id = node.model
                                    JOIN other.problem AS p ON p.id = node.problem
           ORDER BY o.hash, node.seq)
   GROUP BY hash;
DELETE FROM temp.nodes WHERE (n, list) <=
  (SELECT COUNT(*), IFNULL(group_concat(item, char(10)), '')
     FROM (SELECT node.name || ' ' || p.hash || ' ' || node.state AS item
             FROM main.node AS node JOIN main.model AS m ON m.id = node.model
                                    JOIN main.problem AS p ON p.id = node.problem
            WHERE m.hash = nodes.hash ORDER BY node.seq));
DELETE FROM main.node WHERE model IN (SELECT id FROM main.model JOIN temp.nodes USING(hash));
INSERT INTO main.node(model, seq, name, problem, state)
  SELECT m.id, node.seq, node.name, p.id, node.state
    FROM other.node AS node JOIN other.model AS o ON o.id = node.model
                            JOIN temp.nodes USING(hash)
                            JOIN main.model AS m ON m.hash = o.hash
                            JOIN other.problem AS op ON op.id = node.problem
                            JOIN main.problem AS p ON p.hash = op.hash;
DROP TABLE temp.nodes;

INSERT INTO main.expected(key, output, value) SELECT key, output, value FROM other.expected
   WHERE true
  ON CONFLICT(key, output) DO UPDATE SET value = excluded.value WHERE excluded.value > value;
