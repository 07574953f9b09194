/* fluidvm doctor: what works on this machine, what does not, and why. Each finding is "ok" with a
 * value, or "no" with a reason; only what the tool cannot do without makes the command fail. */
#include <stdlib.h>
#include <string.h>

#include "../profiles/counters.h"
#include "../profiles/json.h"
#include "../profiles/sandbox.h"
#include "../vm/jit.h"
#include "../vm/verify.h"
#include "cli.h"

struct doctor {
  bool json, sick;
  struct arena arena;
  struct machine machine;
};

static void finding(const struct doctor *d, bool ok, const char *what, const char *text) {
  struct text line = {0};
  if (!d->json) {
    printf("%-3s %-20s %s\n", ok ? "ok" : "no", what, text);
    return;
  }
  text_printf(&line, "{\"what\":\"%s\",\"ok\":%s,\"text\":", what, ok ? "true" : "false");
  json_string(&line, text);
  if (!line.failed) printf("%s}\n", line.v);
  text_free(&line);
}

/* Something without which nothing can be measured or planned. */
static void need(struct doctor *d, const char *what, enum fvm_status st,
                 const struct fvm_error *err, const char *text) {
  finding(d, st == FVM_OK, what, st == FVM_OK ? text : err->text);
  d->sick |= st != FVM_OK;
}

/* ---- machine ---- */

static void look_at_machine(struct doctor *d) {
  const struct machine *m = &d->machine;
  char text[256];
  snprintf(text, sizeof text, "%s, %d cores, kernel %s", m->cpu, m->cores, m->kernel);
  finding(d, true, "machine", text);
  snprintf(text, sizeof text, "level 1 %lld KiB, 2 %lld KiB, 3 %lld KiB",
           (long long)m->l1_bytes >> 10, (long long)m->l2_bytes >> 10,
           (long long)m->l3_bytes >> 10);
  finding(d, m->l1_bytes > 0, "caches", m->l1_bytes > 0 ? text : "their sizes are hidden here");
  snprintf(text, sizeof text, "%016llx", (unsigned long long)m->fingerprint);
  finding(d, true, "fingerprint", text);
  finding(d, true, "build", build_text());
}

static void look_at_isas(struct doctor *d) {
  for (int i = 0; i < ISA_COUNT; i++) {
    char what[32];
    enum isa isa = (enum isa)i;
    snprintf(what, sizeof what, "isa %s", isa_name(isa));
    finding(d, cpu_has(isa), what,
            !cpu_has(isa)      ? "this CPU lacks it"
            : isa == cpu_isa() ? "in use"
            : isa < cpu_isa()  ? "available; a better one is in use"
                               : "kept out by FLUIDVM_ISA");
  }
}

static void look_at_noise(struct doctor *d) {
  const struct machine *m = &d->machine;
  bool steady = strcmp(m->governor, "performance") == 0;
  finding(d, steady, "governor",
          steady                                ? "performance"
          : strcmp(m->governor, "unknown") == 0 ? "hidden here: the clock may change at will"
                                                : "the clock changes; set it to performance");
  bool bare = strcmp(m->hypervisor, "none") == 0;
  finding(d, bare, "bare machine",
          bare ? "no hypervisor" : "a hypervisor may take the CPU away at any time");
  double load[1] = {0};
  char text[64];
  if (getloadavg(load, 1) != 1) return;
  snprintf(text, sizeof text, "%.2f%s", load[0], load[0] > 0.5 ? ": others are working here" : "");
  finding(d, load[0] <= 0.5, "load", text);
}

static void look_at_speed(struct doctor *d) {
  double gflops, gbytes;
  char text[96];
  machine_speed(&gflops, &gbytes);
  snprintf(text, sizeof text, "%.1f GFLOP/s, %.1f GB/s read, of one core", gflops, gbytes);
  finding(d, true, "speed", text);
}

static void look_at_counters(struct doctor *d) {
  struct counters *c = counters_open();
  for (int i = 0; c && i < COUNTER_COUNT; i++)
    finding(d, !c->why_not[i], counter_name((enum counter)i),
            c->why_not[i]    ? c->why_not[i]
            : c->multiplexed ? "PAPI, or what is below it; hardware events take turns"
                             : c->name);
  if (c) c->free(c);
}

/* ---- what the tool needs ---- */

/* y[i] = 3 for 100 floats: verified, compiled, run. */
static enum fvm_status try_jit(struct doctor *d, struct fvm_error *err) {
  struct builder b;
  struct program p;
  struct jit *jit = NULL;
  struct pool *pool = NULL;
  uint32_t y[100] = {0};
  void *buf[] = {y};
  build_init(&b, &d->arena);
  int out = build_buf(&b, BUF_OUT, sizeof y);
  build_ukr(&b, UKR_fill_4, (struct addr[]){ADDR(out, 0, {0, 0})},
            (struct val[]){val(1), val(100), val(100), val(3)});
  enum fvm_status st = build_finish(&b, &p, err);
  if (st == FVM_OK) st = verify_program(&p, NULL, err);
  if (st == FVM_OK) st = jit_compile(&p, ukr_table(cpu_isa()), &jit, err);
  if (st == FVM_OK) st = pool_new(d->machine.cores, &pool, err);
  struct jit_run run = {jit, buf};
  if (st == FVM_OK && (pool_run(pool, 1, jit_run, &run) != 0 || y[0] != 3 || y[99] != 3))
    st = fvm_fail(err, FVM_EENV, "compiled code gives wrong results");
  pool_free(pool);
  if (jit) jit_free(jit);
  return st;
}

static void do_nothing(void *arg) { (void)arg; }
static void answer(void *arg) { *(int *)arg = 1; }

static enum fvm_status try_sandbox(struct fvm_error *err) {
  int *shared = sandbox_share(sizeof *shared);
  const struct sandbox_work w = {do_nothing, answer, shared};
  const struct sandbox_limit limit = {5, 5};
  struct sandbox s = {0};
  char why[80];
  if (!shared) return fvm_nomem(err);
  enum fvm_status st = sandbox_start(&s, &w, err);
  if (st == FVM_OK &&
      sandbox_call(&s, &limit, shared, do_nothing, NULL, why, sizeof why) != SANDBOX_DONE)
    st = fvm_fail(err, FVM_EENV, "process to measure in: %s", why);
  if (st == FVM_OK && *shared != 1) st = fvm_fail(err, FVM_EENV, "shared memory is not shared");
  sandbox_free(&s);
  sandbox_unshare(shared, sizeof *shared);
  return st;
}

enum fvm_status cmd_doctor(struct cli *cli, struct fvm_error *err) {
  struct doctor d = {.json = cli_flag(cli, OPT_JSON)};
  enum fvm_status st = machine_read(&d.machine, err);
  if (st != FVM_OK) return st;
  look_at_machine(&d);
  look_at_isas(&d);
  need(&d, "compiler (libtcc)", try_jit(&d, err), err, "compiles and runs in process");
  need(&d, "sandbox", try_sandbox(err), err, "candidates crash alone");
  look_at_counters(&d);
  look_at_noise(&d);
  look_at_speed(&d);
  arena_free(&d.arena);
  return d.sick ? fvm_fail(err, FVM_EENV, "something that is needed does not work; see above")
                : FVM_OK;
}
