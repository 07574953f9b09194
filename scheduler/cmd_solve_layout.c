/* fluidvm solve layout: the solver for layouts and labels on a cost function network. */
#include <cjson/cJSON.h>
#include <string.h>

#include "cmd_solve.h"
#include "solve_read.h"

#define CHECK_TICKS ((int64_t)1 << 30)

struct answer {
  struct solve_file f;
  struct arena a;
  struct solve_result r;
  double seconds;
  bool checked; /* the proof of r.certified */
};

static bool ends_with(const char *s, const char *end) {
  size_t n = strlen(s), k = strlen(end);
  return n >= k && strcmp(s + n - k, end) == 0;
}

static enum fvm_status read_network(const char *path, struct solve_file *f, struct fvm_error *err) {
  char *text;
  size_t n;
  enum fvm_status st = solve_text(path, &text, &n, err);
  if (st != FVM_OK) return st;
  bool json = ends_with(path, ".json");
  st = json ? solve_read_iopddl(text, n, f, err) : solve_read_wcsp(text, n, f, err);
  solve_text_free(text, n);
  return st;
}

static enum fvm_status solve(struct cli *cli, struct answer *x, struct fvm_error *err) {
  struct solve_clock clock = solve_clock_start(cli);
  struct solve_limits limits = {SOLVE_ENTRIES, INT64_MAX, solve_clock_over, &clock};
  struct solve_file *f = &x->f;
  struct solve_usage u = {&f->net, f->usage, f->from, f->to, f->limit, limits};
  bool limited = f->usage && !cli_flag(cli, OPT_IGNORE_LIMIT);
  enum fvm_status st = limited ? solve_usage(&u, &x->a, &x->r, err)
                               : solve_limited(&f->net, &limits, &x->a, &x->r, err);
  x->seconds = cli_seconds() - clock.start;
  if (st == FVM_OK && !limited && x->r.ticks <= CHECK_TICKS) {
    st = solve_check(&x->f.net, &x->r, err);
    x->checked = st == FVM_OK;
  }
  if (st != FVM_OK) return st;
  x->r.cost = MIN(SOLVE_INF, x->r.cost + x->f.constant);
  x->r.bound = MIN(SOLVE_INF, x->r.bound + x->f.constant);
  x->r.certified = MIN(SOLVE_INF, x->r.certified + x->f.constant);
  if (x->r.cost < x->f.top) return FVM_OK;
  return fvm_fail(err, FVM_EFAIL,
                  x->r.optimal ? "no choice of labels costs less than the file's top, %lld"
                               : "no choice of labels below the file's top, %lld, was found",
                  (long long)x->f.top);
}

static const char *status(const struct answer *x) { return x->r.optimal ? "optimal" : "gap"; }

static enum fvm_status print_json(const struct answer *x, struct fvm_error *err) {
  cJSON *o = cJSON_CreateObject();
  cJSON *labels = cJSON_CreateIntArray(x->r.label, (int)x->f.net.var.n);
  bool ok = o && labels && cJSON_AddStringToObject(o, "status", status(x)) &&
            cJSON_AddNumberToObject(o, "cost", (double)x->r.cost) &&
            cJSON_AddNumberToObject(o, "bound", (double)x->r.bound) &&
            (!x->checked || cJSON_AddNumberToObject(o, "certified", (double)x->r.certified)) &&
            cJSON_AddNumberToObject(o, "ticks", (double)x->r.ticks) &&
            cJSON_AddNumberToObject(o, "seconds", x->seconds);
  if (ok && (ok = cJSON_AddItemToObject(o, "labels", labels))) labels = NULL;
  char *text = ok ? cJSON_PrintUnformatted(o) : NULL;
  if (text) puts(text);
  cJSON_free(text);
  cJSON_Delete(labels);
  cJSON_Delete(o);
  return text ? FVM_OK : fvm_nomem(err);
}

static enum fvm_status print(const struct answer *x, bool json, struct fvm_error *err) {
  if (json) {
    enum fvm_status st = print_json(x, err);
    if (st != FVM_OK) return st;
  } else {
    for (size_t i = 0; i < x->f.net.var.n; i++) printf("%d\n", x->r.label[i]);
  }
  fprintf(stderr, "cost %lld bound %lld status %s seconds %.3f\n", (long long)x->r.cost,
          (long long)x->r.bound, status(x), x->seconds);
  return FVM_OK;
}

enum fvm_status cmd_solve_layout(struct cli *cli, const char *path, struct fvm_error *err) {
  struct answer x = {0};
  enum fvm_status st = read_network(path, &x.f, err);
  if (st == FVM_OK) st = solve(cli, &x, err);
  if (st == FVM_OK)
    st = print(&x, cli_flag(cli, OPT_JSON), err);
  else
    fvm_prefix(err, "%s", path);
  solve_file_free(&x.f);
  arena_free(&x.a);
  return st;
}
