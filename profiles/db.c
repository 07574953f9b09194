/* Rows of the database: machines, builds, models, problems; storing and looking up runs. */
#include "db_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stats.h"

static const char *const sql_text[] = {
#define STATEMENT(name, sql) sql,
#include "statements.def"
#undef STATEMENT
};

/* ---- statements ---- */

/* A va_list that is an array decays when passed, so it travels by a struct's address. */
struct args {
  va_list ap;
};

static int bind(sqlite3_stmt *s, int i, char type, struct args *a) {
  if (type == 's') return sqlite3_bind_text(s, i, va_arg(a->ap, const char *), -1, SQLITE_STATIC);
  if (type == 'b') {
    const void *data = va_arg(a->ap, const void *);
    size_t bytes = va_arg(a->ap, size_t);
    return sqlite3_bind_blob64(s, i, bytes ? data : "", bytes, SQLITE_STATIC);
  }
  if (type == 'd') {
    double real = va_arg(a->ap, double);
    return real < 0 ? sqlite3_bind_null(s, i) : sqlite3_bind_double(s, i, real);
  }
  int64_t v = va_arg(a->ap, int64_t);
  return type == 'i' ? sqlite3_bind_int64(s, i, v) : sqlite3_bind_null(s, i);
}

enum fvm_status db_query(struct db *db, enum db_statement id, struct query *q,
                         struct fvm_error *err, const char *types, ...) {
  int code = SQLITE_OK;
  *q = (struct query){0};
  if (!db->stmt[id])
    code = sqlite3_prepare_v3(db->sql, sql_text[id], -1, SQLITE_PREPARE_PERSISTENT, &db->stmt[id],
                              NULL);
  if (code != SQLITE_OK) return db_error(db, code, err);
  q->stmt = db->stmt[id];
  sqlite3_clear_bindings(q->stmt);
  struct args a;
  va_start(a.ap, types);
  for (int i = 1; types[i - 1] && code == SQLITE_OK; i++) code = bind(q->stmt, i, types[i - 1], &a);
  va_end(a.ap);
  if (code == SQLITE_OK) return db_next(db, q, err);
  db_end(q);
  return db_error(db, code, err);
}

enum fvm_status db_next(struct db *db, struct query *q, struct fvm_error *err) {
  int code = sqlite3_step(q->stmt);
  q->row = code == SQLITE_ROW;
  if (q->row) return FVM_OK;
  db_end(q);
  return code == SQLITE_DONE ? FVM_OK : db_error(db, code, err);
}

void db_end(struct query *q) {
  if (q->stmt) sqlite3_reset(q->stmt);
  *q = (struct query){0};
}

enum fvm_status db_step(struct db *db, struct query *q, enum fvm_status st, struct fvm_error *err) {
  if (!st) return db_next(db, q, err);
  db_end(q);
  return st;
}

bool db_text(const struct query *q, int column, struct arena *a, const char **text) {
  const char *s = (const char *)sqlite3_column_text(q->stmt, column);
  *text = s ? arena_strdup(a, s) : NULL;
  return !s || *text;
}

/* The id that a SELECT in progress found; 0 when it found nothing. */
static enum fvm_status take_id(enum fvm_status st, struct query *q, int64_t *id) {
  *id = !st && q->row ? sqlite3_column_int64(q->stmt, 0) : 0;
  db_end(q);
  return st;
}

void db_hash_text(uint64_t hash, char text[17]) {
  snprintf(text, 17, "%016llx", (unsigned long long)hash);
}

/* ---- rows with an id: looked up first, for a database may be open for reading only ---- */

enum fvm_status db_machine(struct db *db, const struct machine *m, int64_t *id,
                           struct fvm_error *err) {
  struct query q;
  char hash[17];
  db_hash_text(m->fingerprint, hash);
  enum fvm_status st = db_query(db, SQL_MACHINE_ID, &q, err, "s", hash);
  if ((st = take_id(st, &q, id)) || *id || db->mode == DB_READ) return st;
  st = db_query(db, SQL_MACHINE_ADD, &q, err, "ssiss", hash, m->cpu, (int64_t)m->cores,
                isa_name(m->isa), m->text);
  if (!st) st = db_query(db, SQL_MACHINE_ID, &q, err, "s", hash);
  return take_id(st, &q, id);
}

enum fvm_status db_build(struct db *db, const char *text, int64_t *id, struct fvm_error *err) {
  struct query q;
  enum fvm_status st = db_query(db, SQL_BUILD_ID, &q, err, "s", text);
  if ((st = take_id(st, &q, id)) || *id || db->mode == DB_READ) return st;
  st = db_query(db, SQL_BUILD_ADD, &q, err, "s", text);
  if (!st) st = db_query(db, SQL_BUILD_ID, &q, err, "s", text);
  return take_id(st, &q, id);
}

enum fvm_status db_model(struct db *db, uint64_t hash, const char *name, enum data_state s,
                         int64_t *id, struct fvm_error *err) {
  struct query q;
  char text[17];
  db_hash_text(hash, text);
  enum fvm_status st = db_query(db, SQL_MODEL_ADD, &q, err, "sss", text, name, state_name(s));
  if (!st) st = db_query(db, SQL_MODEL_ID, &q, err, "s", text);
  return take_id(st, &q, id);
}

enum fvm_status db_problem(struct db *db, uint64_t hash, const char *text, const char *op,
                           int64_t *id, struct fvm_error *err) {
  struct query q;
  char key[17];
  db_hash_text(hash, key);
  enum fvm_status st = db_query(db, SQL_PROBLEM_ADD, &q, err, "sss", key, op, text);
  if (!st) st = db_query(db, SQL_PROBLEM_ID, &q, err, "s", key);
  return take_id(st, &q, id);
}

/* ---- transactions ---- */

enum fvm_status db_finish(struct db *db, enum fvm_status st, struct fvm_error *err) {
  if (!st) st = db_exec(db, "COMMIT", err);
  if (st) sqlite3_exec(db->sql, "ROLLBACK", NULL, NULL, NULL);
  return st;
}

enum fvm_status db_nodes(struct db *db, int64_t model, const struct db_node *node, int n,
                         struct fvm_error *err) {
  struct query q;
  enum fvm_status st = db_exec(db, "BEGIN IMMEDIATE", err);
  if (st) return st;
  st = db_query(db, SQL_NODES_CLEAR, &q, err, "i", model);
  for (int i = 0; i < n && !st; i++)
    st = db_query(db, SQL_NODE_ADD, &q, err, "iisis", model, (int64_t)i, node[i].name,
                  node[i].problem, state_name(node[i].state));
  return db_finish(db, st, err);
}

/* ---- runs ---- */

static void samples_text(const int64_t *v, size_t n, struct text *out) {
  text_printf(out, "[");
  for (size_t i = 0; i < n; i++) text_printf(out, i ? ",%lld" : "%lld", (long long)v[i]);
  text_printf(out, "]");
}

enum fvm_status db_parse_samples(const char *s, struct db_samples *x) {
  char *end = NULL;
  if (*s++ != '[') return FVM_EFORMAT;
  if (!strcmp(s, "]")) return FVM_OK;
  for (;; s = end + 1) {
    if (*s < '1' || *s > '9') return FVM_EFORMAT;
    if (!VEC_PUSH(&x->list, (int64_t)strtoll(s, &end, 10))) return FVM_ENOMEM;
    if (*end == ']') return end[1] ? FVM_EFORMAT : FVM_OK;
    if (*end != ',') return FVM_EFORMAT;
  }
}

static void put_virtual(const struct virtual_counters *v, const char *sep, struct text *out) {
  text_printf(out, "%s\"flops\":%lld,\"calls\":%lld,\"asked_bytes\":%lld,", sep,
              (long long)v->flops, (long long)v->calls, (long long)v->asked_bytes);
  text_printf(out, "\"touched_bytes\":%lld,\"constant_bytes\":%lld", (long long)v->touched_bytes,
              (long long)v->constant_bytes);
}

static void counters_text(const struct entrant *e, struct text *out) {
  const struct counter_values *c = &e->counters;
  const char *sep = "{";
  for (int i = 0; i < COUNTER_COUNT; i++) {
    if (!c->valid[i]) continue;
    text_printf(out, "%s\"%s\":%lld", sep, counter_name((enum counter)i), (long long)c->v[i]);
    sep = ",";
  }
  if (c->multiplexed) text_printf(out, "%s\"multiplexed\":true", sep), sep = ",";
  if (e->work.known) put_virtual(&e->work, sep, out), sep = ",";
  text_printf(out, *sep == '{' ? "{}" : "}");
}

struct put {
  int64_t machine, build, candidate;
  const char *state, *engine, *environment;
  bool finished;
};

/* Without a sample the times are NULL, not 0: nobody may take them for fast. */
static enum fvm_status put_run(struct db *db, const struct put *p, const struct entrant *e,
                               const int64_t *sample, size_t n, const char *counters,
                               struct fvm_error *err) {
  struct query q;
  struct text samples = {0};
  struct spread s = stats_spread(sample, n);
  samples_text(sample, n, &samples);
  enum fvm_status st = samples.failed ? fvm_nomem(err) : FVM_OK;
  if (!st)
    st =
        db_query(db, SQL_RUN_PUT, &q, err, n ? "iiiissssiiiiisssid" : "iiiissssNNNiisssid",
                 p->machine, p->build, (int64_t)MEASURE_PROTOCOL, p->candidate, p->state, p->engine,
                 outcome_name(e->outcome), e->reason[0] ? e->reason : NULL, s.min, s.median, s.mad,
                 (int64_t)n, (int64_t)e->dropped, samples.v, counters, p->environment,
                 (int64_t)p->finished, outcome_is_sound(e->outcome) ? e->error : -1.0);
  text_free(&samples);
  return st;
}

static enum fvm_status put_entrant(struct db *db, struct put *p, int64_t problem,
                                   const struct entrant *e, struct fvm_error *err) {
  struct query q;
  struct text counters = {0};
  enum fvm_status st = db_query(db, SQL_CANDIDATE_ADD, &q, err, "is", problem, e->text);
  if (!st) st = db_query(db, SQL_CANDIDATE_ID, &q, err, "is", problem, e->text);
  st = take_id(st, &q, &p->candidate);
  counters_text(e, &counters);
  if (!st && counters.failed) st = fvm_nomem(err);
  p->engine = "jit";
  if (!st && (e->sample.n || !e->interp.n))
    st = put_run(db, p, e, e->sample.v, e->sample.n, counters.v, err);
  p->engine = "interp";
  if (!st && e->interp.n) st = put_run(db, p, e, e->interp.v, e->interp.n, NULL, err);
  text_free(&counters);
  return st;
}

enum fvm_status db_store(struct db *db, int64_t machine, int64_t build, enum data_state s,
                         int64_t problem, const struct entrant *e, int n, const char *environment,
                         bool finished, struct fvm_error *err) {
  struct put p = {.machine = machine,
                  .build = build,
                  .state = state_name(s),
                  .environment = environment,
                  .finished = finished};
  enum fvm_status st = db_exec(db, "BEGIN IMMEDIATE", err);
  if (st) return st;
  for (int i = 0; i < n && !st; i++)
    if (e[i].outcome != OUTCOME_COUNT) st = put_entrant(db, &p, problem, &e[i], err);
  return db_finish(db, st, err);
}

/* ---- lookup ---- */

enum fvm_status db_lookup(struct db *db, int64_t machine, int64_t build, enum data_state s,
                          uint64_t problem_hash, const char *label, struct db_known *k, bool *found,
                          struct fvm_error *err) {
  struct query q;
  char hash[17];
  db_hash_text(problem_hash, hash);
  *k = (struct db_known){.outcome = OUTCOME_COUNT, .error = -1};
  *found = false;
  enum fvm_status st = db_query(db, SQL_LOOKUP, &q, err, "ssiiis", hash, label, machine, build,
                                (int64_t)MEASURE_PROTOCOL, state_name(s));
  /* At most two rows, the compiled one first: the interpreter's time then replaces its. */
  while (!st && q.row) {
    k->outcome = outcome_parse((const char *)sqlite3_column_text(q.stmt, 1));
    k->ns = sqlite3_column_int64(q.stmt, 2);
    k->finals = !strcmp((const char *)sqlite3_column_text(q.stmt, 0), "interp")
                    ? sqlite3_column_int(q.stmt, 5)
                    : 0;
    k->finished = sqlite3_column_int(q.stmt, 3) != DB_CUT;
    k->settled = sqlite3_column_int(q.stmt, 3) == DB_SETTLED;
    if (sqlite3_column_type(q.stmt, 4) == SQLITE_FLOAT) k->error = sqlite3_column_double(q.stmt, 4);
    *found = k->outcome != OUTCOME_COUNT;
    st = db_next(db, &q, err);
  }
  return st;
}

enum fvm_status db_finals(struct db *db, int64_t machine, int64_t build, enum data_state s,
                          uint64_t problem_hash, struct entrant *e, struct fvm_error *err) {
  struct query q;
  struct db_samples x = {0};
  char hash[17];
  db_hash_text(problem_hash, hash);
  enum fvm_status st = db_query(db, SQL_FINALS, &q, err, "ssiiis", hash, e->text, machine, build,
                                (int64_t)MEASURE_PROTOCOL, state_name(s));
  if (st || !q.row) return st;
  st = db_parse_samples((const char *)sqlite3_column_text(q.stmt, 0), &x);
  e->dropped = sqlite3_column_int(q.stmt, 1);
  e->error = sqlite3_column_double(q.stmt, 2);
  db_end(&q);
  for (size_t i = 0; i < x.list.n && !st; i++)
    if (!VEC_PUSH(&e->interp, x.list.v[i])) st = FVM_ENOMEM;
  VEC_FREE(&x.list);
  if (st == FVM_ENOMEM) return fvm_nomem(err);
  return st ? fvm_fail(err, st, "%s: samples of %s are no list of times; run db verify", db->path,
                       e->text)
            : FVM_OK;
}

enum fvm_status db_settle(struct db *db, int64_t machine, int64_t build,
                          const struct db_problem_state *v, int n, struct fvm_error *err) {
  struct query q;
  enum fvm_status st = db_exec(db, "BEGIN IMMEDIATE", err);
  if (st) return st;
  for (int i = 0; i < n && !st; i++) {
    char hash[17];
    db_hash_text(v[i].problem, hash);
    st = db_query(db, SQL_SETTLE, &q, err, "siiisii", hash, machine, build,
                  (int64_t)MEASURE_PROTOCOL, state_name(v[i].state), (int64_t)DB_FINISHED,
                  (int64_t)DB_SETTLED);
  }
  return db_finish(db, st, err);
}

/* ---- lists ---- */

enum fvm_status db_list(struct db *db, int64_t machine, int64_t build, enum data_state s,
                        uint64_t problem_hash, struct arena *a, struct db_labels *labels,
                        struct fvm_error *err) {
  struct query q;
  char hash[17];
  db_hash_text(problem_hash, hash);
  enum fvm_status st = db_query(db, SQL_LIST, &q, err, "siiis", hash, machine, build,
                                (int64_t)MEASURE_PROTOCOL, state_name(s));
  while (!st && q.row) {
    struct db_label l = {.outcome = outcome_parse((const char *)sqlite3_column_text(q.stmt, 1)),
                         .ns = sqlite3_column_int64(q.stmt, 2),
                         .error = sqlite3_column_type(q.stmt, 4) == SQLITE_NULL
                                      ? -1
                                      : sqlite3_column_double(q.stmt, 4)};
    struct db_label *last = labels->list.n ? &labels->list.v[labels->list.n - 1] : NULL;
    bool ok = db_text(&q, 0, a, &l.label) && db_text(&q, 3, a, &l.reason);
    /* The interpreter's row follows the compiled one's, and its time counts. */
    if (ok && last && l.label && !strcmp(last->label, l.label))
      last->ns = l.ns;
    else
      ok = ok && VEC_PUSH(&labels->list, l);
    st = db_step(db, &q, ok ? FVM_OK : fvm_nomem(err), err);
  }
  return st;
}

enum fvm_status db_node_problem(struct db *db, uint64_t model_hash, const char *node,
                                struct arena *a, struct db_use *u, struct fvm_error *err) {
  struct query q;
  char key[17];
  db_hash_text(model_hash, key);
  *u = (struct db_use){0};
  enum fvm_status st = db_query(db, SQL_NODE_PROBLEM, &q, err, "ss", key, node);
  if (st || !q.row) return st;
  u->hash = strtoull((const char *)sqlite3_column_text(q.stmt, 0), NULL, 16);
  u->state = state_parse((const char *)sqlite3_column_text(q.stmt, 2));
  u->nodes = sqlite3_column_int(q.stmt, 3);
  bool ok = db_text(&q, 1, a, &u->text);
  db_end(&q);
  return ok ? FVM_OK : fvm_nomem(err);
}

/* ---- expected outputs ---- */

enum fvm_status db_expect(struct db *db, uint64_t key, int i, const void *data, size_t bytes,
                          struct fvm_error *err) {
  struct query q;
  char hash[17];
  db_hash_text(key, hash);
  enum fvm_status st = db_query(db, SQL_EXPECT, &q, err, "sib", hash, (int64_t)i, data, bytes);
  db_end(&q);
  return st;
}

enum fvm_status db_expected(struct db *db, uint64_t key, int i, void *data, size_t bytes,
                            bool *found, struct fvm_error *err) {
  struct query q;
  char hash[17];
  db_hash_text(key, hash);
  enum fvm_status st = db_query(db, SQL_EXPECTED, &q, err, "si", hash, (int64_t)i);
  if (st) return st;
  if (q.row && (size_t)sqlite3_column_bytes(q.stmt, 0) == bytes)
    memcpy(data, bytes ? sqlite3_column_blob(q.stmt, 0) : "", bytes);
  else
    *found = false;
  db_end(&q);
  return FVM_OK;
}
