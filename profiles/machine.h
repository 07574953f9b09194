/* What machine this is: the key under which measurements count. */
#ifndef FVM_MACHINE_H
#define FVM_MACHINE_H

#include "../kernels/op.h"

struct machine {
  char cpu[96], microcode[32], kernel[96], governor[32], hypervisor[32];
  int cores;
  enum isa isa;
  int64_t l1_bytes, l2_bytes, l3_bytes, ram_bytes;
  char counters[160];   /* usable ones */
  char text[640];       /* canonical text of the above: "cpu=...; cores=...; ..." */
  uint64_t fingerprint; /* hash of text */
};
enum fvm_status machine_read(struct machine *m, struct fvm_error *err);
/* Peak of one core by a register-only FMA loop and bytes/s of reading, best of several tries;
 * takes about 0.2 s. */
void machine_speed(double *gflops, double *gbytes);
/* What a number of threads reach together, each at its own data: the peak, reading from memory, and
 * reading what stays in level 2. About a second, best of several tries. */
struct machine_speeds {
  int threads;
  double gflops, gbytes, cache_gbytes;
};
enum fvm_status machine_team_speed(const struct machine *m, int threads, struct machine_speeds *s,
                                   struct fvm_error *err);
/* The target that candidates are made for; nthreads <= 8 entries. */
void machine_target(const struct machine *m, const int *threads, int nthreads, struct target *t);
/* Text and hash of this build of tool and micro-kernels: a measurement of another one is stale. */
const char *build_text(void);
/* Environment at the moment, as one JSON object: load, MHz, temperature where readable, and what
 * one core did when this process asked first: peak, reading from level 2 and from memory. */
void machine_environment(struct text *out);

#endif
