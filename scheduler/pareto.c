/* A front as a table. Contract: pareto.h. */
#include "pareto.h"

#include <inttypes.h>

/* A field may hold a comma or a quote, since names of files may. */
static void put_field(struct text *out, const char *s) {
  text_printf(out, "\"");
  for (; *s; s++) text_printf(out, *s == '"' ? "\"\"" : "%c", *s);
  text_printf(out, "\"");
}

void pareto_csv(const struct pareto_point *p, int n, struct text *out) {
  text_printf(out, "latency_ns,memory_bytes,arena_bytes,scratch_bytes,weight_bytes,plan,status,"
                   "bound_ns\n");
  for (int i = 0; i < n; i++) {
    text_printf(out, "%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 ",",
                p[i].latency_ns, p[i].memory, p[i].arena, p[i].scratch, p[i].weights);
    put_field(out, p[i].plan);
    text_printf(out, ",%s,%" PRId64 "\n", p[i].optimal ? "optimal" : "gap", p[i].bound_ns);
  }
}
