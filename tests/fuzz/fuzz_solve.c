/* Fuzz target: the readers of cost function networks, and the solver on what they accept. Seeds:
 * any small .wcsp file and .json of the IOPDDL contest; the first character tells them apart. */
#include "../../scheduler/solve_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct solve_file f = {.max_entries = 1 << 14};
  struct arena a = {0};
  struct solve_result r;
  struct fvm_error err;
  struct solve_limits limits = {.entries = 10000, .ticks = 10000};
  const char *text = (const char *)data;
  enum fvm_status st = size && *text == '{' ? solve_read_iopddl(text, size, &f, &err)
                                            : solve_read_wcsp(text, size, &f, &err);
  if (st == FVM_OK && solve_limited(&f.net, &limits, &a, &r, &err) == FVM_OK) {
    CHECK(solve_check(&f.net, &r, &err) == FVM_OK);
    CHECK(r.certified <= r.bound && r.bound <= r.cost && r.optimal == (r.bound == r.cost));
  }
  struct solve_usage u = {&f.net, f.usage, f.from, f.to, f.limit, limits};
  if (st == FVM_OK && f.usage && solve_usage(&u, &a, &r, &err) == FVM_OK)
    CHECK(r.cost == solve_cost(&f.net, r.label) && r.bound <= r.cost);
  arena_free(&a);
  solve_file_free(&f);
  CHECK(fvm_bytes_in_use() == 0);
  return 0;
}
