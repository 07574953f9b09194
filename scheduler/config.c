/* fluidvm.yaml: defaults for options. A mapping from an option's long name to a scalar, or to a
 * sequence of scalars for options that may be repeated. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "cli.h"

/* What the YAML parser is inside of, and the option it reads a value for. */
struct reader {
  struct cli *cli;
  const char *path;
  enum opt option; /* OPT_COUNT: a key is expected */
  int depth;       /* 1 in the mapping, 2 in a sequence of values */
};

static enum fvm_status at(const struct reader *r, const yaml_mark_t *m, const char *what,
                          struct fvm_error *err) {
  return fvm_fail(err, FVM_EUSAGE, "%s:%zu:%zu: %s", r->path, m->line + 1, m->column + 1, what);
}

static enum fvm_status on_scalar(struct reader *r, const yaml_event_t *e, struct fvm_error *err) {
  const char *text = (const char *)e->data.scalar.value;
  if (r->depth == 0) return at(r, &e->start_mark, "expected 'option: value' lines", err);
  if (r->option == OPT_COUNT) {
    char what[128];
    r->option = option_find(text, e->data.scalar.length);
    if (r->option != OPT_COUNT) return FVM_OK;
    snprintf(what, sizeof what, "unknown option '%.40s'; did you mean '%s'?", text,
             option_nearest(text, r->cli->command));
    return at(r, &e->start_mark, what, err);
  }
  const char *copy = arena_strdup(&r->cli->arena, text);
  if (!copy) return fvm_nomem(err);
  enum fvm_status st = cli_add_config(r->cli, r->option, copy, err);
  if (r->depth == 1) r->option = OPT_COUNT;
  return st == FVM_OK ? st : fvm_prefix(err, "%s:%zu", r->path, e->start_mark.line + 1);
}

static enum fvm_status on_event(struct reader *r, const yaml_event_t *e, struct fvm_error *err) {
  switch (e->type) {
  case YAML_SCALAR_EVENT:
    return on_scalar(r, e, err);
  case YAML_MAPPING_START_EVENT:
    if (r->depth++ == 0) return FVM_OK;
    return at(r, &e->start_mark, "a mapping cannot be an option's value", err);
  case YAML_SEQUENCE_START_EVENT:
    if (r->depth++ == 1 && r->option != OPT_COUNT) return FVM_OK;
    return at(r, &e->start_mark, "a list can only be an option's value", err);
  case YAML_SEQUENCE_END_EVENT:
    r->option = OPT_COUNT;
    r->depth--;
    return FVM_OK;
  case YAML_MAPPING_END_EVENT:
    r->depth--;
    return FVM_OK;
  case YAML_ALIAS_EVENT:
    return at(r, &e->start_mark, "aliases are not supported", err);
  default:
    return FVM_OK;
  }
}

static enum fvm_status read_events(struct reader *r, yaml_parser_t *parser, struct fvm_error *err) {
  for (bool end = false; !end;) {
    yaml_event_t e;
    if (!yaml_parser_parse(parser, &e))
      return at(r, &parser->problem_mark, parser->problem ? parser->problem : "not YAML", err);
    enum fvm_status st = on_event(r, &e, err);
    end = e.type == YAML_STREAM_END_EVENT;
    yaml_event_delete(&e);
    if (st != FVM_OK) return st;
  }
  return FVM_OK;
}

enum fvm_status config_read(struct cli *cli, const char *path, bool must_exist,
                            struct fvm_error *err) {
  FILE *f = fopen(path, "r");
  if (!f && errno == ENOENT && !must_exist) return FVM_OK;
  if (!f) return fvm_fail(err, FVM_EUSAGE, "%s: cannot read: %s", path, strerror(errno));
  yaml_parser_t parser;
  if (!yaml_parser_initialize(&parser)) {
    fclose(f);
    return fvm_nomem(err);
  }
  yaml_parser_set_input_file(&parser, f);
  struct reader r = {cli, path, OPT_COUNT, 0};
  enum fvm_status st = read_events(&r, &parser, err);
  yaml_parser_delete(&parser);
  fclose(f);
  return st;
}
