/* Benches kept from race to race: a problem is raced roughly, to the end, and again at other times,
 * and its reference takes as long as some of these races. */
#include "measure_impl.h"

/* In all; one that is larger is kept alone. Those made first go first. */
enum { KEEP_BYTES = 256 << 20 };

struct kept {
  struct bench bench;
  int64_t bytes;
};
struct measure_keep {
  VEC(struct kept *) list;
  int64_t bytes;
};

struct measure_keep *measure_keep_new(void) {
  return fvm_alloc(1, sizeof(struct measure_keep));
}

static void drop(struct measure_keep *k, size_t i) {
  struct kept *x = k->list.v[i];
  k->bytes -= x->bytes;
  bench_free(&x->bench);
  fvm_free(x, 1, sizeof *x);
}

void measure_keep_free(struct measure_keep *k) {
  if (!k) return;
  for (size_t i = 0; i < k->list.n; i++) drop(k, i);
  VEC_FREE(&k->list);
  fvm_free(k, 1, sizeof *k);
}

/* Of inputs that are not the model's own, and of outputs. */
static int64_t bytes_of(const struct opcall *c) {
  int64_t sum = 0;
  for (int i = 0; i < c->nin; i++)
    if (c->in[i].dtype != FVM_NONE && !c->in[i].data) sum += tensor_bytes(&c->in[i]);
  for (int i = 0; i < c->nout; i++) sum += tensor_bytes(&c->out[i]);
  return sum;
}

static void make_room(struct measure_keep *k, int64_t bytes) {
  size_t gone = 0;
  while (gone < k->list.n && k->bytes + bytes > KEEP_BYTES) drop(k, gone++);
  for (size_t i = gone; i < k->list.n; i++) k->list.v[i - gone] = k->list.v[i];
  k->list.n -= gone;
}

enum fvm_status keep_bench(struct measure_keep *k, const struct opcall *c, const struct bench **b,
                           struct fvm_error *err) {
  for (size_t i = 0; i < k->list.n; i++)
    if (k->list.v[i]->bench.call == c) return *b = &k->list.v[i]->bench, FVM_OK;
  make_room(k, bytes_of(c));
  struct kept *x = fvm_alloc(1, sizeof *x);
  if (!x) return fvm_nomem(err);
  enum fvm_status st = bench_make(&x->bench, c, err);
  if (!st && !VEC_PUSH(&k->list, x)) {
    bench_free(&x->bench);
    st = fvm_nomem(err);
  }
  if (st) return fvm_free(x, 1, sizeof *x), st;
  x->bytes = bytes_of(c);
  k->bytes += x->bytes;
  *b = &x->bench;
  return FVM_OK;
}
