-- Version 5: problems of one model are measured in several states.
ALTER TABLE node ADD COLUMN state TEXT NOT NULL DEFAULT 'hot'; -- states.def
UPDATE node SET state = (SELECT state FROM model WHERE id = model);

-- Nodes of each model with the best candidate of their problem, if one was measured.
DROP VIEW v_nodes;
CREATE VIEW v_nodes AS
  SELECT model.name AS model, node.seq AS seq, node.name AS node, problem.op AS op,
         problem.text AS text, v_best.machine AS machine, v_best.build AS build,
         v_best.protocol AS protocol, v_best.label AS label, v_best.ns AS ns
    FROM node JOIN model ON model.id = node.model
              JOIN problem ON problem.id = node.problem
              LEFT JOIN v_best ON v_best.problem = node.problem AND v_best.state = node.state
   ORDER BY model.id, node.seq;
