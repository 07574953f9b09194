/* What bounds the labels of a node, as text and as JSON. Contract: explain.h. */
#include "explain.h"

/* The plan's speeds are of all its threads; a label has its own. What memory brings is the same for
 * any number of them, as far as one or two matter. */
static struct verdict verdict_on(const struct explanation *x, const struct explain_label *l) {
  struct machine_speeds s = x->speed;
  double part = l->threads > 0 && s.threads > 0 ? (double)l->threads / s.threads : 1;
  s.gflops *= part;
  s.cache_gbytes *= part;
  return verdict_of(&l->work, l->ns, &s);
}

static bool has_verdict(const struct explain_label *l) { return l->counted && l->ns > 0; }

void explain_verdict_cell(const struct explanation *x, const struct explain_label *l,
                          struct text *out) {
  if (!has_verdict(l)) {
    text_printf(out, "  %14s", "-");
    return;
  }
  struct verdict v = verdict_on(x, l);
  text_printf(out, "  %9s %3.0f%%", bound_name(v.bound), 100 * MAX(v.compute, MAX(v.near, v.far)));
}

void explain_verdict_text(const struct explanation *x, const struct explain_label *l,
                          struct text *out) {
  if (!has_verdict(l)) return;
  struct verdict v = verdict_on(x, l);
  text_printf(out, "bound   by %s; at full speed its %.2f MFLOP would be %.0f %% of the time,",
              bound_name(v.bound), (double)l->work.flops * 1e-6, 100 * v.compute);
  text_printf(out, " %.1f KiB from beyond level 1 %.0f %%, %.1f KiB from memory %.0f %%\n",
              (double)l->work.near_bytes / 1024, 100 * v.near, (double)l->work.far_bytes / 1024,
              100 * v.far);
}

void explain_verdict_json(const struct explanation *x, const struct explain_label *l,
                          struct text *out) {
  if (!has_verdict(l)) return;
  struct verdict v = verdict_on(x, l);
  text_printf(out, ",\"flops\":%lld,\"near_bytes\":%lld,\"far_bytes\":%lld",
              (long long)l->work.flops, (long long)l->work.near_bytes,
              (long long)l->work.far_bytes);
  text_printf(out, ",\"bound\":\"%s\",\"of_peak\":%.4f,\"of_near\":%.4f,\"of_far\":%.4f",
              bound_name(v.bound), v.compute, v.near, v.far);
}
