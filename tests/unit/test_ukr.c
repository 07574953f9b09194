/* Every micro-kernel of every ISA that this machine has, against its reference row, on arguments
 * drawn at random from what its row allows. All that the test knows about operands it reads from
 * ukr.def: each lies right before or right behind a page without access, and bytes outside the
 * footprint must not change. */
#include "unit.h"

#include <math.h>

#include "ukr_call.h"

/* At, above and below the widths of vectors and tiles. */
static int64_t size(void) {
  static const int64_t sizes[] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  12, 14, 15,
                                  16, 17, 23, 24, 25, 31, 32, 33, 47, 48, 49, 64, 77};
  return sizes[below(COUNT(sizes))];
}

/* ---- arguments ---- */

static int64_t pad(void) { return below(2) ? 0 : below(9); }

/* Sizes, then strides that keep rows apart, then the rest by family. */
static void draw_sizes(struct call *c) {
  for (int i = 0; i < c->sig->nval; i++) {
    do c->v[i] = size();
    while (c->v[i] > c->sig->val[i].max);
  }
}

/* Operands of strips, rows and moves: outer stride >= extent * inner stride. */
static void draw_matrices(struct call *c) {
  for (int k = 0; k < c->sig->nptr; k++) {
    const struct ukr_operand *o = &c->sig->ptr[k];
    int64_t row = 1;
    for (int d = o->ndim - 1; d >= 0; d--) {
      int64_t n = o->extent[d].arg < 0 ? o->extent[d].lit : c->v[o->extent[d].arg];
      int s = o->stride[d].arg;
      if (s >= 0 && d == o->ndim - 1) c->v[s] = o->writes ? 1 + below(3) : below(2);
      if (s >= 0 && d == 0 && o->ndim > 1) c->v[s] = row + pad();
      if (s >= 0 && d == 0 && o->ndim > 1 && !o->writes && !below(4)) c->v[s] = 0;
      row = s >= 0 ? n * c->v[s] : n;
    }
  }
}

/* In place: an input shares the output's memory, strides and column stride 1. */
static void draw_sharing(struct call *c) {
  int out = c->sig->nptr - 1;
  const struct ukr_operand *z = &c->sig->ptr[out];
  for (int k = 0; k < out; k++) {
    const struct ukr_operand *o = &c->sig->ptr[k];
    if (o->elem_bytes != z->elem_bytes || o->ndim != 2 || z->ndim != 2 || o->writes ||
        o->stride[0].arg < 0 || !below(2))
      continue;
    c->v[o->stride[0].arg] = c->v[z->stride[0].arg];
    if (o->stride[1].arg >= 0) c->v[o->stride[1].arg] = 1;
    c->same[k] = out;
  }
}

static float draw_plain(void) { return (float)((double)below(1 << 20) / (1 << 19) - 1); }

/* Blocks of columns beside each other, or each with all its rows. */
static void draw_blocks(struct call *c, int64_t m) {
  static const char *const step[][2] = {{"sd", "hd"}, {"sc", "hc"}, {"se", "he"}};
  for (size_t i = 0; i < COUNT(step); i++) {
    int64_t near = 16 + pad(), beside = below(2);
    int64_t far = (beside ? 2 : m) * near + pad();
    *arg(c, step[i][0]) = beside ? far : near;
    *arg(c, step[i][1]) = beside ? near : far;
  }
  if (below(2)) *arg(c, "sd") = 0;
  *arg(c, "skip") = below(*arg(c, "k") + 1);
}

static void draw_gemm(struct call *c) {
  bool by_rows = below(2), blocks = has_arg(c, "hc");
  int64_t m = *arg(c, "m"), n = *arg(c, "n"), k = *arg(c, "k");
  *arg(c, "ka") = by_rows ? 1 + below(2) : m + pad();
  *arg(c, "sa") = by_rows ? k * 2 + pad() : 1;
  *arg(c, "q") = below(4);
  *arg(c, "r") = below(4);
  *arg(c, "qa") = below(40);
  *arg(c, "qb") = below(200);
  *arg(c, "ra") = below(20);
  *arg(c, "rb") = below(100);
  *arg(c, "sd") = below(2) ? 0 : n + pad();
  *arg(c, "sc") = n + pad();
  *arg(c, "se") = n + pad();
  *arg(c, "lo") = float_bits(draw_plain());
  *arg(c, "hi") = float_bits(1 + draw_plain());
  if (blocks) draw_blocks(c, m);
  if (!below(3)) { /* accumulate */
    *arg(c, "mode") = 1;
    *arg(c, "sd") = *arg(c, "sc");
    if (blocks) *arg(c, "hd") = *arg(c, "hc");
    c->same[2] = 3;
  }
}

static void draw_gather(struct call *c) {
  *arg(c, "rows") = 1 + below(9);
  *arg(c, "st") = *arg(c, "n") + pad();
  if (has_arg(c, "nr")) {
    *arg(c, "nr") = 1 + below(4);
    *arg(c, "panels") = CEIL_DIV(*arg(c, "rows"), *arg(c, "nr"));
    *arg(c, "st") = *arg(c, "n") * *arg(c, "nr") + pad();
  }
  *arg(c, "sy") = *arg(c, "n") + pad();
}

static void draw_pack(struct call *c) {
  int64_t k = *arg(c, "k"), nr = *arg(c, "nr"), n = below(nr + 1);
  int kind = (int)below(3);
  *arg(c, "n") = n;
  *arg(c, "sk") = kind == 0 ? n + pad() : kind == 1 ? 1 : 3;
  *arg(c, "sn") = kind == 0 ? 1 : kind == 1 ? k + pad() : 3 * k + pad();
}

static void draw_border(struct call *c) {
  int64_t h = *arg(c, "h") = below(6), rows = *arg(c, "rows") = below(6), n = *arg(c, "n");
  *arg(c, "q") = below(4);
  *arg(c, "sh") = *arg(c, "w") + pad();
  *arg(c, "sq") = h * *arg(c, "sh") + pad();
  *arg(c, "sy") = rows * n + pad();
  *arg(c, "y") = below(4);
  *arg(c, "step") = below(3);
  *arg(c, "top") = below(4);
  *arg(c, "left") = below(n + 2);
}

/* Rows of heads, or heads of rows; one row of angles for all, and one half of it for both. */
static void draw_rope(struct call *c) {
  int64_t m = *arg(c, "m") = below(5), h = *arg(c, "h") = below(5), n = *arg(c, "n");
  bool by_rows = below(2);
  for (int k = 0; k < 2; k++) {
    int64_t width = 2 * n + pad();
    *arg(c, k ? "sy" : "sx") = by_rows ? h * width + pad() : width;
    *arg(c, k ? "hy" : "hx") = by_rows ? width : m * width + pad();
    *arg(c, k ? "ss" : "sc") = below(2) ? 0 : 2 * n + pad();
    *arg(c, k ? "cs" : "cc") = below(2) ? 0 : n;
  }
  if (below(2)) return;
  *arg(c, "sy") = *arg(c, "sx");
  *arg(c, "hy") = *arg(c, "hx");
  c->same[0] = 3;
}

static void draw_window(struct call *c) {
  static const char *const small[] = {"kh", "kw", "sh", "sw", "ph", "pw", "dh", "dw"};
  for (size_t i = 0; i < COUNT(small); i++) *arg(c, small[i]) = below(4);
  if (below(2)) *arg(c, "sw") = *arg(c, "dw") = 1;
  if (has_arg(c, "kk")) {
    *arg(c, "kk") = *arg(c, "kh") * *arg(c, "kw");
    if (!below(8)) *arg(c, "kk") = below(9);
  }
  if (has_arg(c, "nr")) {
    *arg(c, "c") = below(4);
    *arg(c, "k") = below(4) ? *arg(c, "c") * *arg(c, "kh") * *arg(c, "kw") : size();
    *arg(c, "sc") = *arg(c, "h") * *arg(c, "w") + pad();
    *arg(c, "n") = below(*arg(c, "nr") + 1);
    *arg(c, "p") = below(100);
  }
}

/* Channels last: rows keep apart, and the window as above. */
static void draw_image(struct call *c) {
  draw_window(c);
  for (int k = 0; k < 2; k++) {
    int64_t h = below(8), w = below(27);
    *arg(c, k ? "oh" : "h") = h;
    *arg(c, k ? "ow" : "w") = w;
    int64_t sx = *arg(c, k ? "sy" : "sx") = *arg(c, "c") + pad();
    *arg(c, k ? "hy" : "hx") = w * sx + pad();
  }
  *arg(c, "oy") = below(4);
  if (below(2)) *arg(c, "kw") = 1 + below(8), *arg(c, "sw") = 1 + below(2), *arg(c, "dw") = 1;
  if (has_arg(c, "nw")) {
    *arg(c, "nw") = ROUND_UP(*arg(c, "c"), (int64_t)16) * *arg(c, "kh") * *arg(c, "kw");
    if (!below(8)) *arg(c, "nw") = below(300);
    *arg(c, "lo") = float_bits(below(2) ? -INFINITY : 0);
    *arg(c, "hi") = float_bits(below(2) ? INFINITY : 1);
  }
  if (has_arg(c, "qh")) *arg(c, "qh") = below(4), *arg(c, "qw") = below(4);
}

/* Volumes [d][h][w], planes of which may lie apart. */
static void draw_volume(struct call *c) {
  static const char *const small[] = {"kd", "kh", "kw", "sd", "sh", "sw",
                                      "pd", "ph", "pw", "dd", "dh", "dw"};
  static const char *const extent[] = {"d", "h", "w"};
  for (size_t i = 0; i < COUNT(small); i++) *arg(c, small[i]) = below(4);
  for (size_t i = 0; i < COUNT(extent); i++) *arg(c, extent[i]) = below(7);
  *arg(c, "hw") = *arg(c, "h") * *arg(c, "w") + pad();
  *arg(c, "oh") = below(5);
  *arg(c, "ow") = below(9);
  if (!has_arg(c, "nr")) return;
  *arg(c, "c") = below(4);
  *arg(c, "sc") = *arg(c, "d") * *arg(c, "hw") + pad();
  *arg(c, "k") = below(50);
  *arg(c, "nr") = below(20);
  *arg(c, "n") = below(*arg(c, "nr") + 1);
  *arg(c, "p") = below(100);
}

/* Rows that are single elements, or not. */
static void draw_resample(struct call *c) {
  int64_t m = *arg(c, "m") = below(20), n = *arg(c, "n"), rows = *arg(c, "rows") = 1 + below(9);
  bool by_lines = below(2);
  *arg(c, "k") = below(10);
  *arg(c, "st") = m + pad();
  *arg(c, "sx") = by_lines ? 1 : n + pad();
  *arg(c, "cx") = by_lines ? rows + pad() : 1;
  *arg(c, "sy") = by_lines ? 1 : n + pad();
  *arg(c, "cy") = by_lines ? m + pad() : 1;
}

/* Tiles of an image, some of them beyond its border; channels last, or in blocks. */
static void draw_wino(struct call *c) {
  int64_t n = *arg(c, "n") = below(2) ? below(36) : 8 * below(5), t = below(7);
  if (has_arg(c, "nr")) {
    int64_t r = *arg(c, "r") = 1 + below(4), k = *arg(c, "k") = below(6);
    *arg(c, "nr") = n + pad();
    *arg(c, "su") = k * *arg(c, "nr") + pad();
    *arg(c, "sk") = r * r + pad();
    *arg(c, "sn") = k * *arg(c, "sk");
    return;
  }
  *arg(c, "t") = t;
  *arg(c, "tw") = 1 + below(4);
  *arg(c, "st") = n + pad();
  *arg(c, has_arg(c, "sv") ? "sv" : "sm") = t * *arg(c, "st") + pad();
  int64_t w = *arg(c, has_arg(c, "sv") ? "w" : "ow") = below(13);
  *arg(c, has_arg(c, "sv") ? "h" : "oh") = below(13);
  *arg(c, "sx") = n + pad();
  *arg(c, "sy") = w * *arg(c, "sx") + pad();
  if (has_arg(c, "lo")) {
    *arg(c, "lo") = float_bits(below(2) ? -INFINITY : 0);
    *arg(c, "hi") = float_bits(below(2) ? INFINITY : 1);
    return;
  }
  *arg(c, "x") = below(13);
  *arg(c, "y") = below(13);
  *arg(c, "px") = below(4);
  *arg(c, "py") = below(4);
  *arg(c, "step") = below(8);
}

/* Runs of channels: one after the other in a pixel, or pixels one after the other in a run. */
static void draw_lrn(struct call *c) {
  int64_t b = *arg(c, "b") = below(20), n = *arg(c, "n") = below(3) ? size() : 1;
  int64_t m = *arg(c, "m") = below(9);
  for (int k = 0; k < 2; k++) {
    bool inside = below(2);
    int64_t run = n + pad();
    *arg(c, k ? "sy" : "sx") = inside ? b * run : run;
    *arg(c, k ? "by" : "bx") = inside ? run : m * run;
  }
  static const float powers[] = {0.75f, 0.5f, 1, 0.6f};
  *arg(c, "size") = below(8) ? below(8) : below(257);
  *arg(c, "alpha") = float_bits(0.01f * (float)below(100));
  *arg(c, "beta") = float_bits(powers[below(4)]);
  *arg(c, "bias") = float_bits(0.5f + (float)below(3));
}

static void draw_call(struct call *c) {
  const char *name = c->sig->name;
  draw_sizes(c);
  for (int k = 0; k < c->sig->nptr; k++) c->same[k] = k;
  if (starts(name, "gemm_")) return draw_gemm(c);
  if (starts(name, "gather_")) return draw_gather(c);
  if (starts(name, "rope_")) return draw_rope(c);
  if (starts(name, "pack_")) return draw_pack(c);
  if (starts(name, "lrn_")) return draw_lrn(c);
  if (starts(name, "resample_")) return draw_resample(c);
  if (starts(name, "border_")) return draw_border(c);
  if (has_arg(c, "kd")) return draw_volume(c);
  if (has_arg(c, "kh")) return has_arg(c, "hx") ? draw_image(c) : draw_window(c);
  if (starts(name, "wino_")) return draw_wino(c);
  draw_matrices(c);
  if (has_arg(c, "scale")) *arg(c, "scale") = float_bits(0.125f * (float)below(20) - 0.5f);
  if (has_arg(c, "first")) *arg(c, "first") = below(2);
  if (has_arg(c, "eps")) *arg(c, "eps") = float_bits(1e-5f);
  if (has_arg(c, "value")) *arg(c, "value") = (int64_t)(draw() >> 9);
  bool moves = starts(name, "copy_") || starts(name, "transpose_") || starts(name, "fill_");
  bool products = starts(name, "dots_") || starts(name, "mix_");
  if (!moves && !products && below(2)) draw_sharing(c);
}

/* ---- data ---- */

enum kind { K_BYTES, K_F32, K_F64, K_I64, K_I32, K_BOOL, K_INDEX };

/* What an operand holds, from the kernel's name: eq_i64 takes int64, cvt_f32_i64 turns float into
 * int64, and so on. */
static enum kind kind_of(const struct call *c, int k) {
  const struct ukr_operand *o = &c->sig->ptr[k];
  const char *name = c->sig->name;
  if ((starts(name, "gather_") || starts(name, "resample_")) && k == 1) return K_INDEX;
  if (o->elem_bytes == 1) return K_BOOL;
  if (starts(name, "copy_") || starts(name, "transpose_") || starts(name, "fill_") ||
      starts(name, "gather_") || starts(name, "select_"))
    return K_BYTES;
  if (o->elem_bytes == 8) return strstr(name, "f64") ? K_F64 : K_I64;
  const char *of = starts(name, "cvt_") ? (k == 0 ? name + 4 : strrchr(name, '_') + 1) : name;
  if (starts(name, "cvt_")) return starts(of, "i32") ? K_I32 : K_F32;
  return strstr(name, "_i32") ? K_I32 : K_F32;
}

static float draw_float(void) {
  static const float special[] = {0, -0.0f, 1, -1, 0.5f, -2.5f, INFINITY, -INFINITY, NAN, 1e30f};
  int64_t r = below(40);
  if (r == 0) return special[below(COUNT(special))];
  return (float)((double)below(1 << 24) / (1 << 21) - 4);
}

/* gemm and convolutions compare sums, where special values would hide everything else. */
static int64_t draw_int(void) {
  static const int64_t special[] = {0, -1, INT64_MIN, INT64_MAX, INT32_MIN, INT32_MAX};
  return below(8) ? below(2000) - 1000 : special[below(COUNT(special))];
}

/* From -rows to rows - 1, now and then just or far outside. */
static int64_t draw_index(int64_t rows) {
  const int64_t outside[] = {rows, -rows - 1, INT64_MIN, INT64_MAX};
  return below(50) ? below(2 * rows) - rows : outside[below(COUNT(outside))];
}

static void draw_data(struct call *c, int k, unsigned char *p, int64_t bytes) {
  const struct ukr_operand *o = &c->sig->ptr[k];
  enum kind kind = kind_of(c, k);
  bool plain = starts(c->sig->name, "gemm") || starts(c->sig->name, "dots") ||
               starts(c->sig->name, "mix") || has_arg(c, "kh") || has_arg(c, "eps") ||
               starts(c->sig->name, "row") || starts(c->sig->name, "rope") ||
               starts(c->sig->name, "colsum") || starts(c->sig->name, "lrn") ||
               starts(c->sig->name, "resample") || starts(c->sig->name, "colsum") ||
               starts(c->sig->name, "lrn") || starts(c->sig->name, "wino_") ||
               (has_arg(c, "scale") && below(2));
  for (int64_t i = 0; i < bytes; i += o->elem_bytes) {
    int64_t x = kind == K_BOOL ? below(3) : (int64_t)draw();
    if (kind == K_I64 || kind == K_I32) x = draw_int();
    if (kind == K_INDEX) x = draw_index(*arg(c, "rows"));
    if (kind == K_INDEX && starts(c->sig->name, "resample_") && below(500))
      x = below(*arg(c, "rows")); /* does not count from the end */
    if (kind == K_F32) x = float_bits(plain ? draw_plain() : draw_float());
    if (starts(c->sig->name, "softmax_cols") && k == 1)
      x &= INT32_MAX; /* a sum is no less than 0 */
    if (kind == K_F64) {
      double f = (double)draw_float();
      memcpy(&x, &f, 8);
    }
    memcpy(p + i, &x, o->elem_bytes);
  }
}

/* ---- comparison ---- */

/* What may differ from the reference: units in the last place, or an absolute error; the sums are
 * of values below 1. Everything not named here, and all that is not a float, has to be equal. The
 * reference is rounded, too. */
static const struct limit {
  const char *prefix;
  double ulp, abs;
} limits[] = {
    {"gemm_", 0, 2e-5},         {"dwconv_", 0, 1e-6},       {"avgpool_", 0, 1e-6},
    {"softmax_cols", 32, 1e-9}, {"rowsum", 0, 1e-5},        {"rowprod", 64, 1e-30},
    {"layernorm_", 4, 1e-4},    {"rope_", 1, 3e-7},         {"dots_", 0, 2e-5},
    {"mix_", 0, 2e-5},          {"colsum_", 64, 1e-5},      {"lrn_", 32, 1e-30},
    {"resample_", 0, 1e-5},     {"gemm_", 0, 2e-5},         {"dwconv_", 0, 1e-6},
    {"avgpool_", 0, 1e-6},      {"softmax_cols", 32, 1e-9}, {"rowsum", 0, 1e-5},
    {"rowprod", 64, 1e-30},     {"layernorm_", 4, 1e-4},    {"rope_", 1, 3e-7},
    {"dots_", 0, 2e-5},         {"mix_", 0, 2e-5},          {"colsum_", 64, 1e-5},
    {"lrn_", 32, 1e-30},        {"gemm_", 0, 2e-5},         {"dwconv_", 0, 1e-6},
    {"avgpool_", 0, 1e-6},      {"softmax_cols", 32, 1e-9}, {"rowsum", 0, 1e-5},
    {"rowprod", 64, 1e-30},     {"layernorm_", 4, 1e-4},    {"rope_", 1, 3e-7},
    {"dots_", 0, 2e-5},         {"mix_", 0, 2e-5},          {"wino_in", 0, 3e-5},
    {"wino_out", 0, 2e-4},
#define ULP(name, bound) {#name, (bound) + 0.5, 0},
#include "../../kernels/ukr_ulp.def"
#undef ULP
};

static bool close_enough(const char *name, float got, float want) {
  if (!memcmp(&got, &want, 4) || got == want) return true;
  if (isnan(got) || isnan(want)) return isnan(got) && isnan(want);
  for (size_t i = 0; i < COUNT(limits); i++) {
    if (!starts(name, limits[i].prefix)) continue;
    double ulp = (double)(nextafterf(fabsf(want), INFINITY) - fabsf(want));
    return fabs((double)got - (double)want) <= limits[i].ulp * ulp + limits[i].abs;
  }
  return false;
}

/* A passing ck_assert costs a system call, so elements are asserted only when they are wrong. */
#define FAIL_AT(c, isa, o, i, ...)                                                                 \
  do {                                                                                             \
    char what_[120];                                                                               \
    snprintf(what_, sizeof what_, __VA_ARGS__);                                                    \
    ck_abort_msg("%s: %s[%lld] %s", describe(c, isa), (o)->name, (long long)(i), what_);           \
  } while (0)

static void compare(const struct call *c, int k, enum isa isa, const unsigned char *got,
                    const unsigned char *want, const unsigned char *before, int64_t bytes) {
  static unsigned char map[AREA];
  const struct ukr_operand *o = &c->sig->ptr[k];
  enum kind kind = kind_of(c, k);
  size_t each = o->elem_bytes;
  memset(map, 0, (size_t)bytes);
  if (o->writes && bytes) mark(c, o, map, 0, 0);
  for (int64_t i = 0; i < bytes; i += o->elem_bytes) {
    float g = 0, w = 0;
    if (!map[i]) {
      if (memcmp(got + i, before + i, each)) FAIL_AT(c, isa, o, i / each, "was not to be written");
    } else if (kind == K_F32) {
      memcpy(&g, got + i, 4);
      memcpy(&w, want + i, 4);
      if (!close_enough(c->sig->name, g, w))
        FAIL_AT(c, isa, o, i / each, "is %a (%g), not %a (%g)", (double)g, (double)g, (double)w,
                (double)w);
    } else if (memcmp(got + i, want + i, each)) {
      FAIL_AT(c, isa, o, i / each, "differs");
    }
  }
}

/* Lay the operands out at the ends (or starts) of areas from `first` on, with given contents. */
static void place(const struct call *c, int first, bool at_end, unsigned char *const *content,
                  const int64_t *bytes, void **p) {
  for (int k = 0; k < c->sig->nptr; k++) {
    p[k] = area[first + k] + (at_end ? AREA - bytes[k] : 0);
    memcpy(p[k], content[k], (size_t)bytes[k]);
  }
  for (int k = 0; k < c->sig->nptr; k++) p[k] = p[c->same[k]];
}

static void try_call(struct call *c, int id) {
  static unsigned char before[UKR_MAXPTR][AREA];
  unsigned char *content[UKR_MAXPTR];
  int64_t bytes[UKR_MAXPTR];
  void *want[UKR_MAXPTR], *got[UKR_MAXPTR];
  for (int k = 0; k < c->sig->nptr; k++) {
    content[k] = before[k];
    bytes[k] = span(c, &c->sig->ptr[k]);
    ck_assert_int_le(bytes[k], AREA);
    draw_data(c, k, before[k], bytes[k]);
  }
  bool at_end = below(4);
  place(c, 0, at_end, content, bytes, want);
  int status = ukr_table(ISA_REF)[id](want, c->v);
  for (int i = 1; i < ISA_COUNT; i++) {
    if (!cpu_has((enum isa)i)) continue;
    place(c, UKR_MAXPTR, at_end, content, bytes, got);
    ck_assert_int_eq(ukr_table((enum isa)i)[id](got, c->v), status);
    for (int k = 0; k < c->sig->nptr; k++)
      if (c->same[k] == k) compare(c, k, (enum isa)i, got[k], want[k], before[k], bytes[k]);
  }
}

START_TEST(every_kernel_equals_its_reference) {
  seed_draws();
  make_areas();
  for (int id = 0; id < UKR_COUNT; id++)
    for (int i = 0; i < 300; i++) {
      struct call c = {.sig = ukr_sig((enum ukr_id)id)};
      draw_call(&c);
      try_call(&c, id);
    }
}
END_TEST

UNIT_MAIN("ukr", every_kernel_equals_its_reference)
