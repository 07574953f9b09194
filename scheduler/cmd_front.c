/* fluidvm plan --pareto: the plans of the front of latency and memory, checked like any plan, their
 * table and their picture. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "cmd_plan.h"
#include "pareto.h"

struct paper {
  struct session *s;
  struct cli *cli;
  struct accuracy *a;
  VEC(struct pareto_point) point;
  struct fvm_error *err;
};

/* PLAN-3.plan for PLAN.plan, and TABLE without its .csv or .svg. */
static const char *numbered(struct cli *cli, const char *out, int number) {
  const char *dot = strrchr(out, '.'), *slash = strrchr(out, '/');
  size_t n = dot && dot > out && (!slash || dot > slash + 1) ? (size_t)(dot - out) : strlen(out);
  return arena_printf(&cli->arena, "%.*s-%d%s", (int)n, out, number, out + n);
}

static const char *with_ending(struct cli *cli, const char *path, const char *ending) {
  size_t n = strlen(path);
  if (n > 4 && (!strcmp(path + n - 4, ".csv") || !strcmp(path + n - 4, ".svg"))) n -= 4;
  return arena_printf(&cli->arena, "%.*s%s", (int)n, path, ending);
}

static enum fvm_status write_text(const char *path, struct text *t, struct fvm_error *err) {
  enum fvm_status st = t->failed || !path ? fvm_nomem(err) : FVM_OK;
  FILE *f = st ? NULL : fopen(path, "wb");
  if (!st && !f) st = fvm_fail(err, FVM_EIO, "%s: cannot be made (%s)", path, strerror(errno));
  bool ok = f && (t->n == 0 || fwrite(t->v, t->n, 1, f) == 1);
  if (f && fclose(f) != 0) ok = false;
  if (f && !ok) st = fvm_fail(err, FVM_EIO, "%s: %s", path, strerror(errno));
  text_free(t);
  return st;
}

/* ---- points ---- */

/* s->schedule as the next point. The front is one of plans that were written: a plan that had to
 * change to be exact enough may be beaten by then. */
static enum fvm_status write_point(struct paper *p, const char *out) {
  struct session *s = p->s;
  const char *path = numbered(p->cli, out, (int)p->point.n + 1);
  if (!path) return fvm_nomem(p->err);
  enum fvm_status st = plan_write_accurate(s, p->cli, path, p->a, p->err);
  if (st) return st;
  const struct schedule *x = s->schedule;
  const struct pareto_point *last = p->point.n ? &p->point.v[p->point.n - 1] : NULL;
  if (last && (x->cost_ns <= last->latency_ns || x->resident_bytes >= last->memory)) {
    unlink(path);
    return FVM_OK;
  }
  struct pareto_point q = {.latency_ns = x->cost_ns,
                           .bound_ns = MIN(x->layout_bound_ns, x->cost_ns),
                           .memory = x->resident_bytes,
                           .arena = x->arena_bytes,
                           .scratch = x->scratch_bytes,
                           .weights = x->resident_bytes - x->arena_bytes - x->scratch_bytes,
                           .optimal = x->optimal,
                           .plan = path};
  if (!VEC_PUSH(&p->point, q)) return fvm_nomem(p->err);
  if (cli_flag(p->cli, OPT_JSON)) return plan_print_json(s, p->a->error, path, p->err);
  printf("%s: predicted %.3f ms (bound %.3f), memory %.2f MiB: weights %.2f, activations %.2f, "
         "scratch %.2f\n",
         path, (double)q.latency_ns * 1e-6, (double)q.bound_ns * 1e-6, (double)q.memory / 1048576,
         (double)q.weights / 1048576, (double)q.arena / 1048576, (double)q.scratch / 1048576);
  return FVM_OK;
}

/* Each schedule passes to the session, which may plan again within what it was allowed. */
static enum fvm_status write_points(struct paper *p, struct front *f, const char *out) {
  enum fvm_status st = FVM_OK;
  double label_error = p->s->label_error;
  for (size_t i = 0; i < f->schedule.n && !st; i++) {
    struct schedule *x = f->schedule.v[i];
    int64_t within = p->point.n ? p->point.v[p->point.n - 1].memory - 1 : p->s->memory;
    f->schedule.v[i] = NULL;
    schedule_free(p->s->schedule);
    p->s->schedule = x;
    p->s->memory = within;
    p->s->label_error = label_error;
    st = write_point(p, out);
    if (st == FVM_EFAIL && p->point.n) st = FVM_OK; /* none is exact enough in so little memory */
  }
  return st;
}

/* ---- all of it ---- */

static enum fvm_status find_front(struct session *s, struct cli *cli, struct front *f,
                                  struct fvm_error *err) {
  struct plan_options o;
  struct progress progress;
  struct plan_watch watch = {progress_go_on, &progress};
  session_options(s, &o);
  o.watch = &watch;
  o.phases = &s->phases;
  cli_catch_interrupt();
  progress_start(&progress, cli);
  progress.lines = cli_flag(cli, OPT_JSON);
  enum fvm_status st = schedule_front(s->graph, s->cost, &o, f, err);
  progress_end(&progress);
  return st;
}

static enum fvm_status write_table(struct paper *p, const char *file) {
  struct text csv = {0}, svg = {0};
  int n = (int)p->point.n;
  const char *model = p->cli->pos[0], *slash = strrchr(model, '/');
  const char *title =
      arena_printf(&p->cli->arena, "%s: latency and memory", slash ? slash + 1 : model);
  if (!title) return fvm_nomem(p->err);
  pareto_csv(p->point.v, n, &csv);
  pareto_svg(p->point.v, n, title, &svg);
  const char *name[] = {with_ending(p->cli, file, ".csv"), with_ending(p->cli, file, ".svg")};
  enum fvm_status st = write_text(name[0], &csv, p->err);
  enum fvm_status also = write_text(name[1], &svg, st ? NULL : p->err);
  if (!st && !also && !cli_flag(p->cli, OPT_JSON))
    printf("%s, %s: %d plans, none of which another one beats in latency and memory\n", name[0],
           name[1], n);
  return st ? st : also;
}

enum fvm_status plan_front(struct session *s, struct cli *cli, const char *out, struct accuracy *a,
                           struct fvm_error *err) {
  struct paper p = {.s = s, .cli = cli, .a = a, .err = err};
  struct front f = {{0}};
  enum fvm_status st = find_front(s, cli, &f, err);
  if (!st) st = write_points(&p, &f, out);
  if (!st) st = write_table(&p, cli_text(cli, OPT_PARETO));
  front_free(&f);
  VEC_FREE(&p.point);
  return st;
}
