/* What every unit test shares: run one suite of Check, no fork so that leaks show, and end with
 * no byte in use. */
#ifndef FVM_UNIT_H
#define FVM_UNIT_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../vm/base.h"

#define OK(call)                                                                                   \
  do {                                                                                             \
    enum fvm_status st_ = (call);                                                                  \
    ck_assert_msg(st_ == FVM_OK, "%s: %s", #call, err.text);                                       \
  } while (0)

static inline int unit_main(const char *name, const TTest *const *test, size_t n) {
  Suite *s = suite_create(name);
  TCase *tc = tcase_create(name);
  tcase_set_timeout(tc, 300);
  for (size_t i = 0; i < n; i++) tcase_add_test(tc, test[i]);
  suite_add_tcase(s, tc);
  SRunner *r = srunner_create(s);
  srunner_set_fork_status(r, CK_NOFORK);
  srunner_run_all(r, CK_NORMAL);
  int failed = srunner_ntests_failed(r);
  srunner_free(r);
  if (fvm_bytes_in_use() != 0) {
    fprintf(stderr, "%s: %zu bytes still in use\n", name, fvm_bytes_in_use());
    failed++;
  }
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
#define UNIT_MAIN(name, ...)                                                                       \
  int main(void) {                                                                                 \
    const TTest *const tests[] = {__VA_ARGS__};                                                    \
    return unit_main(name, tests, COUNT(tests));                                                   \
  }

#endif
