/* Verdicts where rows are read: an SQL function. */
#include "db_impl.h"

#include <stdio.h>

#include "verdict.h"

enum { NS, THREADS, FLOPS, TOUCHED, CONSTANT, GFLOPS, CACHE_GBYTES, GBYTES, ARGS };

/* verdict(...) of the columns above is a JSON object, or NULL where one of them is. Speeds are
 * those of one core; memory is shared. */
static void verdict_function(sqlite3_context *c, int n, sqlite3_value **v) {
  char text[160];
  for (int i = 0; i < n; i++)
    if (sqlite3_value_type(v[i]) == SQLITE_NULL) return;
  double threads = sqlite3_value_double(v[THREADS]);
  const struct verdict_work w = {.flops = sqlite3_value_int64(v[FLOPS]),
                                 .near_bytes = sqlite3_value_int64(v[TOUCHED]),
                                 .far_bytes = sqlite3_value_int64(v[CONSTANT])};
  const struct machine_speeds s = {.gflops = threads * sqlite3_value_double(v[GFLOPS]),
                                   .cache_gbytes = threads * sqlite3_value_double(v[CACHE_GBYTES]),
                                   .gbytes = sqlite3_value_double(v[GBYTES])};
  struct verdict x = verdict_of(&w, sqlite3_value_int64(v[NS]), &s);
  snprintf(text, sizeof text,
           "{\"bound\":\"%s\",\"of_peak\":%.4f,\"of_near\":%.4f,\"of_far\":%.4f}",
           bound_name(x.bound), x.compute, x.near, x.far);
  sqlite3_result_text(c, text, -1, SQLITE_TRANSIENT);
}

int db_add_verdict(struct db *db) {
  return sqlite3_create_function_v2(db->sql, "verdict", ARGS, SQLITE_UTF8 | SQLITE_DETERMINISTIC,
                                    NULL, verdict_function, NULL, NULL, NULL);
}
