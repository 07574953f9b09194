/* fluidvm dump: a graph after its passes, or a plan, as text. */
#include <string.h>

#include "../vm/asm.h"
#include "../vm/jit.h"
#include "pin.h"
#include "session.h"

static enum fvm_status dump_model(struct cli *cli, struct fvm_error *err) {
  struct dim_binding *dim;
  int ndim;
  struct graph *g = NULL;
  struct text t = {0};
  enum fvm_status st = cli_dims(cli, &dim, &ndim, err);
  if (st == FVM_OK) st = onnx_import(cli->pos[0], dim, ndim, &g, err);
  if (st == FVM_OK) st = pipeline_run(g, cli_text(cli, OPT_PASS), err);
  if (st == FVM_OK && graph_dump(g, &t) != FVM_OK) st = fvm_nomem(err);
  graph_free(g);
  if (st != FVM_OK) {
    text_free(&t);
    return st;
  }
  return cli_print(&t, err);
}

static void print_shape(int rank, const int64_t *dim) {
  printf("[");
  for (int i = 0; i < rank; i++) printf("%s%lld", i ? ", " : "", (long long)dim[i]);
  printf("]");
}

static const char *const spaces[] = {"arena", "weights", "input", "output", "scratch", "none"};

static void print_io(const struct fvm_plan *p, const char *what, uint32_t first, uint32_t n) {
  printf("%s:\n", what);
  for (uint32_t i = first; i < first + n; i++) {
    const struct plan_io *io = &p->io[i];
    printf("  - {name: \"%s\", dtype: %s, shape: ", plan_string(p, io->name),
           fvm_dtype_name((enum fvm_dtype)io->dtype));
    print_shape((int)io->rank, io->dim);
    printf("}\n");
  }
}

static void print_step(const struct fvm_plan *p, uint32_t i) {
  const struct plan_step *s = &p->step[i];
  printf(
      "  - name: \"%s\"\n    label: \"%s\"\n    program: %u\n    threads: %u\n    cost_ns: %lld\n"
      "    buffers:\n",
      plan_string(p, s->name), plan_string(p, s->label), s->program, s->threads,
      (long long)s->cost_ns);
  for (uint32_t b = 0; b < p->program[s->program].nbuf; b++) {
    const struct plan_bind *bind = &p->bind[s->first_bind + b];
    printf("      - {space: %s, index: %u, offset: %llu, bytes: %lld}\n", spaces[bind->space],
           bind->index, (unsigned long long)bind->offset,
           (long long)p->program[s->program].buf[b].bytes);
  }
}

static void print_tensor(const struct fvm_plan *p, const struct plan_tensor *t) {
  printf("  - {name: \"%s\", dtype: %s, layout: %s, shape: ", plan_string(p, t->name),
         fvm_dtype_name((enum fvm_dtype)t->dtype), layout_name((enum layout)t->layout));
  print_shape((int)t->rank, t->dim);
  printf(", space: %s, offset: %llu, bytes: %llu, first: %u, last: %u}\n", spaces[t->space],
         (unsigned long long)t->offset, (unsigned long long)t->bytes, t->first, t->last);
}

static void dump_yaml(const struct fvm_plan *p) {
  const struct plan_meta *m = p->meta;
  printf("model: \"%s\"\nmodel_hash: %016llx\nbuild: \"%s\"\nmachine: \"%s\"\nthreads: %u\n",
         plan_string(p, m->model), (unsigned long long)m->model_hash, plan_string(p, m->build),
         plan_string(p, m->machine), m->threads);
  if (m->max_error >= 0) printf("max_error: %.9g\n", m->max_error);
  printf("predicted_ns: %lld\nlayout_cost_ns: %lld\nlayout_bound_ns: %lld\narena_bytes: %llu\n"
         "arena_bound_bytes: %llu\n",
         (long long)m->predicted_ns, (long long)m->layout_cost_ns, (long long)m->layout_bound_ns,
         (unsigned long long)m->arena_bytes, (unsigned long long)m->arena_bound_bytes);
  print_io(p, "inputs", 0, p->nin);
  print_io(p, "outputs", p->nin, p->nout);
  printf("steps:\n");
  for (uint32_t i = 0; i < p->nstep; i++) print_step(p, i);
  printf("tensors:\n");
  for (uint32_t i = 0; i < p->ntensor; i++) print_tensor(p, &p->tensor[i]);
}

/* Every label of the plan, so that plan --pin makes it again. Views have no step; they are what is
 * left. What is computed again is found again. */
static enum fvm_status dump_pins(const struct fvm_plan *p, struct fvm_error *err) {
  struct text t = {0};
  text_printf(&t,
              "# The labels of a plan of model %016llx: plan --pin with this file makes it again\n",
              (unsigned long long)p->meta->model_hash);
  for (uint32_t i = 0; i < p->nstep; i++) {
    const char *name = plan_string(p, p->step[i].name), *label = plan_string(p, p->step[i].label);
    bool conversion = !strncmp(label, "convert ", 8);
    if (!conversion && !name[plan_once(name, strlen(name))]) pin_print(name, label, &t);
  }
  return cli_print(&t, err);
}

static enum fvm_status find_step(const struct fvm_plan *p, const char *name, uint32_t *step,
                                 struct fvm_error *err) {
  for (*step = 0; *step < p->nstep; ++*step)
    if (!strcmp(plan_string(p, p->step[*step].name), name)) return FVM_OK;
  return fvm_fail(err, FVM_EUSAGE, "no step '%s' in this plan; 'fluidvm dump PLAN' lists them",
                  name);
}

static enum fvm_status dump_node(const struct fvm_plan *p, struct cli *cli, const char *name,
                                 struct fvm_error *err) {
  uint32_t i;
  struct text t = {0};
  enum fvm_status st = find_step(p, name, &i, err);
  if (st != FVM_OK) return st;
  const struct program *program = &p->program[p->step[i].program];
  if (cli_flag(cli, OPT_C))
    jit_emit(program, "step", &t);
  else if (cli_flag(cli, OPT_BYTECODE))
    asm_print(program, &t);
  else
    print_step(p, i);
  return cli_print(&t, err);
}

static enum fvm_status dump_plan(struct cli *cli, struct fvm_error *err) {
  struct fvm_plan *p = NULL;
  enum fvm_status st = fvm_load(cli->pos[0], &p, err);
  if (st != FVM_OK) return st;
  const char *node = cli_text(cli, OPT_NODE);
  const struct plan_entry *report = &p->section[PLAN_REPORT];
  if (node)
    st = dump_node(p, cli, node, err);
  else if (cli_flag(cli, OPT_PINS))
    st = dump_pins(p, err);
  else if (cli_flag(cli, OPT_YAML))
    dump_yaml(p);
  else
    fwrite(p->base + report->offset, 1, report->bytes, stdout);
  fvm_unload(p);
  return st;
}

enum fvm_status cmd_dump(struct cli *cli, struct fvm_error *err) {
  return is_plan_file(cli->pos[0]) ? dump_plan(cli, err) : dump_model(cli, err);
}
