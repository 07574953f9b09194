/* GFLOP/s of every label of a product with constant B, one thread, through the interpreter and
 * through compiled code, beside the machine's peak: all in turns, so that a change of clock or a
 * busy neighbour hits all alike. Prints the best few.
 *
 *   bench_gemm [M K N [rounds]]        default 128 768 3072 20
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../../profiles/machine.h"
#include "../../vm/jit.h"
#include "../../vm/verify.h"

enum { SHOWN = 5, SHORTLIST = 8 };

struct run_of {
  struct label label;
  struct program program;
  struct jit *jit;
  void *buf[CODE_MAXBUF];
  double interp, jitted; /* best seconds */
};

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void fail(const struct fvm_error *err) {
  fprintf(stderr, "bench_gemm: %s\n", err->text);
  exit(1);
}

static void *memory(int64_t bytes) {
  float *p = aligned_alloc(4096, (size_t)ROUND_UP(MAX(bytes, 1), (int64_t)4096));
  if (!p) exit(1);
  for (int64_t i = 0; i < bytes / 4; i++) p[i] = (float)(i % 17) / 16 - 0.5f;
  return p;
}

static void prepare(const struct opcall *c, struct run_of *r, struct arena *a) {
  struct fvm_error err = {0};
  if (opcall_emit(c, &r->label, a, &r->program, &err) || verify_program(&r->program, NULL, &err) ||
      jit_compile(&r->program, ukr_table(cpu_isa()), &r->jit, &err))
    fail(&err);
  for (uint32_t i = 0; i < r->program.nbuf; i++) {
    int64_t bytes = r->program.buf[i].bytes;
    r->buf[i] = memory(r->program.buf[i].kind == BUF_SCRATCH ? scratch_stride(bytes) : bytes);
  }
}

static void drop(struct run_of *r) {
  jit_free(r->jit);
  for (uint32_t i = 0; i < r->program.nbuf; i++) free(r->buf[i]);
}

static void time_once(struct pool *pool, struct run_of *r) {
  struct run run = {&r->program, ukr_table(cpu_isa()), r->buf};
  struct jit_run jrun = {r->jit, r->buf};
  double t = now();
  pool_run(pool, 1, interp_run, &run);
  r->interp = MIN(r->interp, now() - t);
  t = now();
  pool_run(pool, 1, jit_run, &jrun);
  r->jitted = MIN(r->jitted, now() - t);
}

static int faster(const void *a, const void *b) {
  double x = ((const struct run_of *)a)->interp, y = ((const struct run_of *)b)->interp;
  return (x > y) - (x < y);
}

static void print(const struct opcall *c, const struct run_of *r, double flops, double peak) {
  struct text t = {0};
  double interp = flops / r->interp / 1e9, jitted = flops / r->jitted / 1e9;
  label_text(c, &r->label, &t);
  printf("interpreter %6.1f (%5.1f %%)  compiled %6.1f (%5.1f %%)  %s\n", interp,
         100 * interp / peak, jitted, 100 * jitted / peak, t.v);
  text_free(&t);
}

int main(int argc, char **argv) {
  int64_t x[] = {128, 768, 3072, 20};
  for (int i = 1; i < argc && i <= (int)COUNT(x); i++) x[i - 1] = strtoll(argv[i], NULL, 10);
  struct fvm_error err = {0};
  struct tensor in[2], out[1];
  struct opcall c = {.op = op_find("MatMul", 6),
                     .nin = 2,
                     .nown = 2,
                     .nout = 1,
                     .in = in,
                     .out = out,
                     .opset = 17};
  struct machine m;
  struct target target;
  struct pool *pool;
  struct arena a = {0};
  VEC(struct run_of) v = {0};
  if (tensor_init(&in[0], FVM_F32, 2, (int64_t[]){x[0], x[1]}, &err) ||
      tensor_init(&in[1], FVM_F32, 2, (int64_t[]){x[1], x[2]}, &err) || machine_read(&m, &err) ||
      pool_new(1, &pool, &err))
    fail(&err);
  in[1].data = memory(tensor_bytes(&in[1])); /* constant: packed ahead of time */
  if (opcall_shape(&c, &err)) fail(&err);
  machine_target(&m, (int[]){1}, 1, &target);
  struct run_of r = {.interp = 1e9, .jitted = 1e9};
  for (int i = 0; opcall_label(&c, &target, i, &r.label); i++)
    if (!VEC_PUSH(&v, r)) return 1;
  /* A first look at all, then the best few in turns. */
  for (size_t i = 0; i < v.n; i++) {
    prepare(&c, &v.v[i], &a);
    for (int k = 0; k < 3; k++) time_once(pool, &v.v[i]);
  }
  qsort(v.v, v.n, sizeof *v.v, faster);
  double flops = 2.0 * (double)(x[0] * x[1] * x[2]), peak = 0, gbytes;
  for (int64_t k = 0; k < x[3]; k++) {
    double g;
    machine_speed(&g, &gbytes);
    peak = MAX(peak, g);
    for (size_t i = 0; i < MIN(v.n, (size_t)SHORTLIST); i++) time_once(pool, &v.v[i]);
  }
  qsort(v.v, MIN(v.n, (size_t)SHORTLIST), sizeof *v.v, faster);
  printf("%lldx%lldx%lld on %s: %zu labels, peak %.1f GFLOP/s, best of them:\n", (long long)x[0],
         (long long)x[1], (long long)x[2], isa_name(cpu_isa()), v.n, peak);
  for (size_t i = 0; i < MIN(v.n, (size_t)SHOWN); i++) print(&c, &v.v[i], flops, peak);
  for (size_t i = 0; i < v.n; i++) drop(&v.v[i]);
  VEC_FREE(&v);
  pool_free(pool);
  arena_free(&a);
  free((void *)in[1].data);
  return 0;
}
