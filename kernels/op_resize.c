/* Resize and Upsample: shape, the taps of an axis, reference. A pass (pass_resize.c) turns them
 * into Resample, or Gather for what is no float. */
#include "op_impl.h"
#include "resample.h"

#include <math.h>
#include <string.h>

enum mode { NEAREST, LINEAR, CUBIC };
enum coordinates {
  HALF_PIXEL,
  HALF_PIXEL_SYMMETRIC,
  PYTORCH_HALF_PIXEL,
  ALIGN_CORNERS,
  ASYMMETRIC,
  TF_HALF_PIXEL_FOR_NN,
  TF_CROP_AND_RESIZE
};
enum rounding { PREFER_FLOOR, PREFER_CEIL, FLOOR, CEIL };
enum policy { STRETCH, NOT_LARGER, NOT_SMALLER };

struct resize_axis {
  int64_t in, out;
  float scale, width; /* width: of the output before it was rounded to whole elements */
  float begin, end;   /* the part of the input to crop */
  bool given;         /* the model says something of this axis */
};
struct resize {
  enum mode mode;
  enum coordinates coordinates;
  enum rounding rounding;
  bool antialias, exclude;
  float cubic, outside;
  struct resize_axis axis[FVM_MAXRANK];
};

/* ---- attributes and inputs ------------------------------------------------------------------- */
/* The place of an attribute's text in a list; *v stays when it is absent. */
static enum fvm_status read_choice(const struct opcall *c, const char *name,
                                   const char *const *list, size_t n, unsigned *v,
                                   struct fvm_error *err) {
  const struct attr *a = opcall_attr(c, name);
  if (!a) return FVM_OK;
  for (size_t i = 0; i < n && a->kind == ATTR_STRING; i++)
    if (!strcmp(a->s, list[i])) {
      *v = (unsigned)i;
      return FVM_OK;
    }
  return fvm_fail(err, FVM_EUNSUPPORTED, "attribute '%s' is '%.40s', which we do not know", name,
                  a->kind == ATTR_STRING ? a->s : "no text");
}
#define READ_CHOICE(c, name, v, err, ...)                                                          \
  read_choice(c, name, (const char *const[]){__VA_ARGS__},                                         \
              COUNT(((const char *const[]){__VA_ARGS__})), v, err)

static enum fvm_status read_ways(struct resize *r, const struct opcall *c, struct fvm_error *err) {
  /* Upsample, and Resize of opset 10, place and round in one way. */
  bool old = !strcmp(c->op->name, "Upsample") || c->opset < 11;
  unsigned mode = NEAREST, at = old ? ASYMMETRIC : HALF_PIXEL, round = old ? FLOOR : PREFER_FLOOR;
  enum fvm_status st = READ_CHOICE(c, "mode", &mode, err, "nearest", "linear", "cubic");
  if (st == FVM_OK)
    st = READ_CHOICE(c, "coordinate_transformation_mode", &at, err, "half_pixel",
                     "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
                     "tf_half_pixel_for_nn", "tf_crop_and_resize");
  if (st == FVM_OK)
    st = READ_CHOICE(c, "nearest_mode", &round, err, "round_prefer_floor", "round_prefer_ceil",
                     "floor", "ceil");
  *r = (struct resize){.mode = (enum mode)mode,
                       .coordinates = (enum coordinates)at,
                       .rounding = (enum rounding)round,
                       .antialias = mode != NEAREST && opcall_int(c, "antialias", 0) != 0,
                       .exclude = mode != NEAREST && opcall_int(c, "exclude_outside", 0) != 0,
                       .cubic = opcall_float(c, "cubic_coeff_a", -0.75f),
                       .outside = opcall_float(c, "extrapolation_value", 0)};
  return st;
}

/* The values of a constant float input, *n of them; 0 when it is absent. */
static enum fvm_status read_floats(const struct opcall *c, int i, const char *name, float *v,
                                   int *n, struct fvm_error *err) {
  const struct tensor *t = opcall_in(c, i);
  int64_t count = t ? tensor_count(t) : 0;
  *n = 0;
  if (count == 0) return FVM_OK;
  if (!t->data) return fvm_fail(err, FVM_EUNSUPPORTED, "input '%s' is not constant", name);
  if (!dtype_is_float(t->dtype) || count > 2 * FVM_MAXRANK)
    return fvm_fail(err, FVM_EFORMAT, "input '%s' has %lld elements of %s", name, (long long)count,
                    fvm_dtype_name(t->dtype));
  for (int64_t k = 0; k < count; k++) v[k] = (float)elem_f64(t->data, t->dtype, k);
  *n = (int)count;
  return FVM_OK;
}

static enum fvm_status read_scales(const struct opcall *c, float *v, int *n,
                                   struct fvm_error *err) {
  const struct attr *a = opcall_attr(c, "scales");
  bool upsample = !strcmp(c->op->name, "Upsample");
  if (upsample && a && a->kind == ATTR_FLOATS && a->n <= FVM_MAXRANK) {
    memcpy(v, a->floats, (size_t)a->n * sizeof *v);
    *n = a->n;
    return FVM_OK;
  }
  return read_floats(c, upsample || c->opset < 11 ? 1 : 2, "scales", v, n, err);
}

/* The axes that scales, sizes and roi speak of. */
static enum fvm_status read_axes(const struct opcall *c, int axes[FVM_MAXRANK], int *n,
                                 struct fvm_error *err) {
  const struct attr *a = opcall_attr(c, "axes");
  int rank = c->in[0].rank;
  *n = a ? a->n : rank;
  for (int i = 0; i < rank; i++) axes[i] = i;
  if (!a) return FVM_OK;
  unsigned mask;
  if (a->kind != ATTR_INTS || a->n > rank)
    return fvm_fail(err, FVM_EFORMAT, "attribute 'axes' does not list axes of the input");
  enum fvm_status st = op_axes(a->ints, a->n, rank, &mask, err);
  for (int i = 0; i < a->n && st == FVM_OK; i++) st = op_axis(a->ints[i], rank, &axes[i], err);
  return st;
}

/* Output elements of in * scale; -1 when that is no size. */
static int64_t whole(float width) {
  return width >= 0 && width <= (float)TENSOR_MAXBYTES ? (int64_t)width : -1;
}

static enum fvm_status set_scale(struct resize_axis *x, float scale, struct fvm_error *err) {
  x->scale = scale;
  x->width = (float)x->in * scale;
  x->out = whole(x->width);
  if (scale > 0 && x->out >= 0) return FVM_OK;
  return fvm_fail(err, FVM_EFORMAT, "a scale of %g for an axis of %lld", (double)scale,
                  (long long)x->in);
}

/* Sizes: each axis its own scale, or the same for all that keeps within (or around) the sizes. */
static enum fvm_status set_sizes(struct resize *r, const struct opcall *c, const int *axis, int n,
                                 const int64_t *size, struct fvm_error *err) {
  unsigned policy = STRETCH;
  float common = 0;
  enum fvm_status st = READ_CHOICE(c, "keep_aspect_ratio_policy", &policy, err, "stretch",
                                   "not_larger", "not_smaller");
  for (int i = 0; i < n && st == FVM_OK; i++) {
    struct resize_axis *x = &r->axis[axis[i]];
    if (size[i] < 0 || size[i] > TENSOR_MAXBYTES || (size[i] > 0 && x->in == 0))
      return fvm_fail(err, FVM_EFORMAT, "a size of %lld for an axis of %lld", (long long)size[i],
                      (long long)x->in);
    x->out = size[i];
    x->width = (float)size[i];
    x->scale = x->in ? (float)size[i] / (float)x->in : 1;
    bool better = policy == NOT_LARGER ? x->scale < common : x->scale > common;
    if (i == 0 || better) common = x->scale;
  }
  for (int i = 0; i < n && st == FVM_OK && policy != STRETCH; i++) {
    struct resize_axis *x = &r->axis[axis[i]];
    x->scale = common;
    x->width = (float)x->in * common;
    x->out = whole(x->width + 0.5f);
  }
  return st;
}

static enum fvm_status read_sizes(struct resize *r, const struct opcall *c, const int *axis, int n,
                                  struct fvm_error *err) {
  float scale[2 * FVM_MAXRANK];
  int64_t size[FVM_MAXRANK];
  int nscale, nsize = -1;
  enum fvm_status st = read_scales(c, scale, &nscale, err);
  if (st == FVM_OK && strcmp(c->op->name, "Upsample") != 0 && c->opset >= 11)
    st = op_ints(c, 3, "sizes", size, FVM_MAXRANK, &nsize, err);
  if (st != FVM_OK) return st;
  if (nscale != n && nsize != n)
    return fvm_fail(err, FVM_EFORMAT, "needs %d scales or sizes, has %d and %d", n, nscale,
                    MAX(nsize, 0));
  if (nsize == n) return set_sizes(r, c, axis, n, size, err);
  for (int i = 0; i < n && st == FVM_OK; i++) st = set_scale(&r->axis[axis[i]], scale[i], err);
  return st;
}

static enum fvm_status read_crop(struct resize *r, const struct opcall *c, const int *axis, int n,
                                 struct fvm_error *err) {
  float roi[2 * FVM_MAXRANK] = {0};
  int have;
  if (r->coordinates != TF_CROP_AND_RESIZE) return FVM_OK;
  enum fvm_status st = read_floats(c, 1, "roi", roi, &have, err);
  if (st != FVM_OK) return st;
  if (have != 2 * n) return fvm_fail(err, FVM_EFORMAT, "roi has %d elements for %d axes", have, n);
  for (int i = 0; i < n; i++) {
    r->axis[axis[i]].begin = roi[i];
    r->axis[axis[i]].end = roi[n + i];
  }
  return FVM_OK;
}

static enum fvm_status resize_init(struct resize *r, const struct opcall *c,
                                   struct fvm_error *err) {
  int axis[FVM_MAXRANK], n;
  enum fvm_status st = read_ways(r, c, err);
  if (st == FVM_OK) st = read_axes(c, axis, &n, err);
  if (st != FVM_OK) return st;
  for (int i = 0; i < c->in[0].rank; i++) {
    int64_t d = c->in[0].dim[i];
    r->axis[i] = (struct resize_axis){.in = d, .out = d, .scale = 1, .width = (float)d, .end = 1};
  }
  st = read_sizes(r, c, axis, n, err);
  return st == FVM_OK ? read_crop(r, c, axis, n, err) : st;
}

bool resize_moves(const struct opcall *c) {
  struct resize r;
  return read_ways(&r, c, NULL) == FVM_OK && r.mode == NEAREST &&
         r.coordinates != TF_CROP_AND_RESIZE;
}

enum fvm_status resize_shape(struct opcall *c, struct fvm_error *err) {
  struct resize r;
  int64_t dim[FVM_MAXRANK];
  enum fvm_status st = resize_init(&r, c, err);
  if (st != FVM_OK) return st;
  if (!dtype_is_float(c->in[0].dtype) && !resize_moves(c))
    return fvm_fail(err, FVM_EUNSUPPORTED, "only the nearest element of %s can be taken",
                    fvm_dtype_name(c->in[0].dtype));
  for (int i = 0; i < c->in[0].rank; i++) dim[i] = r.axis[i].out;
  return tensor_init(&c->out[0], c->in[0].dtype, c->in[0].rank, dim, err);
}

/* ---- taps ------------------------------------------------------------------------------------ */
/* Where output i lies in the input. In single precision and in this order of operations, as
 * everybody does it: where that falls on the border between two elements, it decides. */
static float original(const struct resize *r, const struct resize_axis *x, int64_t i) {
  const float at = (float)i, last = (float)(x->in - 1), wide = x->width - 1;
  switch (r->coordinates) {
  case HALF_PIXEL:
    return (at + 0.5f) / x->scale - 0.5f;
  case HALF_PIXEL_SYMMETRIC:
    return (float)x->in / 2 * (1 - (float)x->out / x->width) + (at + 0.5f) / x->scale - 0.5f;
  case PYTORCH_HALF_PIXEL:
    return x->out > 1 ? (at + 0.5f) / x->scale - 0.5f : 0;
  case ALIGN_CORNERS:
    return x->width == 1 ? 0 : at * last / wide;
  case ASYMMETRIC:
    return at / x->scale;
  case TF_HALF_PIXEL_FOR_NN:
    return (at + 0.5f) / x->scale;
  case TF_CROP_AND_RESIZE:
    break;
  }
  if (x->width == 1) return 0.5f * (x->begin + x->end) * last;
  return x->begin * last + at * (x->end - x->begin) * last / wide;
}

static float nearest(enum rounding r, float at) {
  switch (r) {
  case PREFER_FLOOR:
    return ceilf(at - 0.5f);
  case PREFER_CEIL:
    return floorf(at + 0.5f);
  case FLOOR:
    return floorf(at);
  case CEIL:
    break;
  }
  return ceilf(at);
}

/* Weight of an input at a distance. */
static double weight(const struct resize *r, double x) {
  const double a = (double)r->cubic;
  x = fabs(x);
  if (r->mode == NEAREST) return 1;
  if (r->mode == LINEAR) return fmax(1 - x, 0);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

/* Inputs that an output is made of, and the first of them, counted from the input on the left. With
 * antialias a reduction reads all that the output covers. */
static int64_t count_taps(const struct resize *r, const struct resize_axis *x, int64_t *first) {
  double reach = r->mode == CUBIC ? 2 : 1, scale = r->antialias ? fmin((double)x->scale, 1) : 1;
  *first = (int64_t)floor(-reach / scale) + 1;
  return r->mode == NEAREST ? 1 : 2 - 2 * *first;
}

static void place_taps(const struct resize *r, const struct resize_axis *x, int64_t i,
                       const struct taps *t) {
  enum { FAR = 1 << 30 };
  float at = original(r, x, i);
  double sum = 0, scale = r->antialias ? fmin((double)x->scale, 1) : 1;
  int64_t first;
  count_taps(r, x, &first);
  bool crop = r->coordinates == TF_CROP_AND_RESIZE;
  if (crop && !(at >= 0 && at <= (float)(x->in - 1))) {
    t->start[i] = r->outside;
    return; /* weights are 0 */
  }
  at = at > -FAR && at < FAR ? at : 0;
  /* The input on the left; an input that is met exactly has its left neighbour there. */
  float left = r->mode == NEAREST ? nearest(r->rounding, at) : ceilf(at) - 1;
  if (r->mode == NEAREST) first = 0;
  for (int64_t k = 0; k < t->k; k++) {
    int64_t to = (int64_t)left + first + k, in = MIN(MAX(to, 0), x->in - 1);
    double w = weight(r, ((double)(first + k) - (double)(at - left)) * scale);
    if (r->exclude && to != in) w = 0;
    t->index[k * t->n + i] = in;
    t->weight[k * t->n + i] = (float)w;
    sum += w;
  }
  for (int64_t k = 0; k < t->k && (r->antialias || r->exclude) && sum != 0; k++)
    t->weight[k * t->n + i] = (float)((double)t->weight[k * t->n + i] / sum);
}

static bool stays(const struct resize *r, const struct resize_axis *x) {
  bool crop = r->coordinates == TF_CROP_AND_RESIZE && (x->begin != 0 || x->end != 1);
  return x->in == x->out && x->scale == 1 && !crop;
}

enum fvm_status resize_taps(const struct opcall *c, int axis, struct arena *a, struct taps *t,
                            struct fvm_error *err) {
  struct resize r;
  int64_t first, count;
  *t = (struct taps){0};
  enum fvm_status st = resize_init(&r, c, err);
  if (st != FVM_OK) return st;
  const struct resize_axis *x = &r.axis[axis];
  if (stays(&r, x) || x->out == 0) return FVM_OK;
  *t = (struct taps){.n = x->out, .k = count_taps(&r, x, &first)};
  if (!fvm_mul(t->n, t->k, &count) || count > TENSOR_MAXBYTES)
    return fvm_fail(err, FVM_EUNSUPPORTED, "%lld outputs of %lld inputs each", (long long)t->n,
                    (long long)t->k);
  t->index = ARENA_NEW(a, int64_t, count);
  t->weight = ARENA_NEW(a, float, count);
  t->start = ARENA_NEW(a, float, t->n);
  if (!t->index || !t->weight || !t->start) return fvm_nomem(err);
  for (int64_t i = 0; i < t->n; i++) place_taps(&r, x, i, t);
  return FVM_OK;
}

/* ---- reference ------------------------------------------------------------------------------- */
struct ref_resize {
  const struct opcall *c;
  const void *x;
  struct taps t[FVM_MAXRANK];
  int64_t stride[FVM_MAXRANK], idx[FVM_MAXRANK];
};

/* Axes from `axis` on, at place `at` of the input. */
static double sample(const struct ref_resize *r, int axis, int64_t at) {
  const struct tensor *in = &r->c->in[0];
  if (axis == in->rank) return elem_f64(r->x, in->dtype, at);
  const struct taps *t = &r->t[axis];
  int64_t i = r->idx[axis];
  if (t->n == 0) return sample(r, axis + 1, at + i * r->stride[axis]);
  double sum = (double)t->start[i];
  for (int64_t k = 0; k < t->k; k++)
    sum += (double)t->weight[k * t->n + i] *
           sample(r, axis + 1, at + t->index[k * t->n + i] * r->stride[axis]);
  return sum;
}

/* The element that is the nearest along all axes. */
static int64_t source(const struct ref_resize *r) {
  int64_t at = 0;
  for (int a = 0; a < r->c->in[0].rank; a++)
    at += (r->t[a].n ? r->t[a].index[r->idx[a]] : r->idx[a]) * r->stride[a];
  return at;
}

enum fvm_status resize_ref(const struct opcall *c, const void *const *in, void *const *out,
                           struct fvm_error *err) {
  struct ref_resize r = {.c = c, .x = in[0]};
  struct arena a = {0};
  enum fvm_status st = FVM_OK;
  size_t size = fvm_dtype_bytes(c->in[0].dtype);
  bool moves = resize_moves(c);
  int64_t n = tensor_count(&c->out[0]);
  for (int i = 0; i < c->in[0].rank && st == FVM_OK; i++) st = resize_taps(c, i, &a, &r.t[i], err);
  row_strides(c->in[0].rank, c->in[0].dim, r.stride);
  for (int64_t i = 0; i < n && st == FVM_OK; i++) {
    int64_t left = i;
    for (int k = c->out[0].rank; k-- > 0; left /= c->out[0].dim[k])
      r.idx[k] = left % c->out[0].dim[k];
    if (moves)
      memcpy((char *)out[0] + (size_t)i * size, (const char *)in[0] + (size_t)source(&r) * size,
             size);
    else
      elem_set_f64(out[0], c->out[0].dtype, i, sample(&r, 0, 0));
  }
  arena_free(&a);
  return st;
}
