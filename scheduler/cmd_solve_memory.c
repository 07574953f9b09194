/* fluidvm solve memory: offsets for the blocks of a CSV file. */
#include "cmd_solve.h"
#include "mem_csv.h"

static const char *status_name(enum mem_status s) {
  return s == MEM_OPTIMAL ? "optimal" : s == MEM_GAP ? "gap" : "infeasible";
}

static enum fvm_status print_json(const struct mem_csv *f, const struct mem_result *r, bool found,
                                  double seconds, struct fvm_error *err) {
  struct text t = {0};
  text_printf(&t,
              "{\"status\":\"%s\",\"height\":%lld,\"bound\":%lld,\"ticks\":%lld,"
              "\"seconds\":%.6f,\"offsets\":[",
              status_name(r->status), (long long)r->bytes, (long long)r->bound, (long long)r->ticks,
              seconds);
  for (size_t i = 0; i < f->block.n && found; i++)
    text_printf(&t, "%s%lld", i ? "," : "", (long long)f->block.v[i].offset);
  text_printf(&t, "]}\n");
  return cli_print(&t, err);
}

static enum fvm_status print_rows(const struct mem_csv *f, struct fvm_error *err) {
  struct text t = {0};
  mem_csv_print(f, &t);
  return cli_print(&t, err);
}

static enum fvm_status solve(struct cli *cli, struct mem_csv *f, struct fvm_error *err) {
  struct solve_clock clock = solve_clock_start(cli);
  int64_t capacity = cli_int(cli, OPT_CAPACITY, 0);
  struct mem_limits limits = {capacity, INT64_MAX, solve_clock_over, &clock};
  struct mem_result r;
  enum fvm_status st = mem_solve(f->block.v, (int)f->block.n, &limits, &r, err);
  if (st) return st;
  double seconds = cli_seconds() - clock.start;
  bool found = !capacity || r.bytes <= capacity;
  if (cli_flag(cli, OPT_JSON))
    st = print_json(f, &r, found, seconds, err);
  else if (found)
    st = print_rows(f, err);
  if (st) return st;
  fflush(stdout);
  fprintf(stderr, "height %lld bound %lld status %s seconds %.3f\n", (long long)r.bytes,
          (long long)r.bound, status_name(r.status), seconds);
  if (found) return FVM_OK;
  if (r.status == MEM_INFEASIBLE)
    return fvm_fail(err, FVM_EFAIL, "no packing fits into %lld bytes; it takes %lld at least",
                    (long long)capacity, (long long)r.bound);
  return fvm_fail(err, FVM_EFAIL,
                  "no packing within %lld bytes was found; the best takes %lld, and none below "
                  "%lld: raise --limit or --capacity",
                  (long long)capacity, (long long)r.bytes, (long long)r.bound);
}

enum fvm_status cmd_solve_memory(struct cli *cli, const char *path, struct fvm_error *err) {
  struct mem_csv f = {0};
  char *text;
  size_t n;
  enum fvm_status st = solve_text(path, &text, &n, err);
  if (st) return fvm_prefix(err, "%s", path);
  st = mem_csv_read(text, n, &f, err);
  if (!st) st = solve(cli, &f, err);
  if (st) fvm_prefix(err, "%s", path);
  mem_csv_free(&f);
  solve_text_free(text, n);
  return st;
}
