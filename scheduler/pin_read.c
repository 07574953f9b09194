/* Pins from YAML. Contract and format: pin.h. A state machine over the parser's events: outside, in
 * the list, in a pin (where a key and its value take turns), in the list that is a key's value. */
#include "pin.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "../vm/plan.h"
#include "../vm/slots.h"

enum key { KEY_NODE, KEY_OP, KEY_USE, KEY_AVOID, KEY_THREADS, KEY_LAYOUT, KEY_COUNT };
static const char *const keys[KEY_COUNT] = {"node", "op", "use", "avoid", "threads", "layout"};

enum place { OUTSIDE, IN_LIST, IN_PIN, IN_VALUES };

struct reader {
  struct pins *pins;
  struct pin pin; /* the one that is being read */
  enum place place;
  enum key key;  /* whose value comes next; KEY_COUNT: a key does */
  unsigned seen; /* keys of this pin */
  struct fvm_error *err;
};

static enum fvm_status at(const struct reader *r, const yaml_mark_t *m, const char *what) {
  return fvm_fail(r->err, FVM_EFORMAT, "%.200s:%zu:%zu: %s", r->pins->path, m->line + 1,
                  m->column + 1, what);
}

static enum fvm_status at_text(const struct reader *r, const yaml_event_t *e, const char *what,
                               const char *near) {
  char text[200];
  snprintf(text, sizeof text, "%s '%.60s'; did you mean '%s'?", what,
           (const char *)e->data.scalar.value, near);
  return at(r, &e->start_mark, text);
}

/* ---- keys and values ---- */

static enum fvm_status on_key(struct reader *r, const yaml_event_t *e) {
  const char *text = (const char *)e->data.scalar.value, *near = keys[0];
  for (int i = 0; i < KEY_COUNT; i++) {
    if (name_distance(text, keys[i]) < name_distance(text, near)) near = keys[i];
    if (strcmp(text, keys[i]) != 0) continue;
    if (r->seen >> i & 1) return at(r, &e->start_mark, "this key is there twice in one pin");
    r->seen |= 1u << i;
    r->key = (enum key)i;
    return FVM_OK;
  }
  return at_text(r, e, "unknown key", near);
}

static enum fvm_status read_threads(struct reader *r, const yaml_event_t *e) {
  const char *text = (const char *)e->data.scalar.value;
  char *end;
  long n = strtol(text, &end, 10);
  if (end == text || *end || n < 1 || n > PLAN_MAXTHREADS)
    return at(r, &e->start_mark, "threads: expected a number from 1 to 64");
  r->pin.threads = (int)n;
  return FVM_OK;
}

static enum fvm_status read_layout(struct reader *r, const yaml_event_t *e) {
  const char *text = (const char *)e->data.scalar.value, *near = layout_name(LAYOUT_ROW);
  r->pin.layout = layout_parse(text, e->data.scalar.length);
  if (r->pin.layout != LAYOUT_COUNT) return FVM_OK;
  for (int i = 0; i < LAYOUT_COUNT; i++)
    if (name_distance(text, layout_name((enum layout)i)) < name_distance(text, near))
      near = layout_name((enum layout)i);
  return at_text(r, e, "unknown layout", near);
}

static enum fvm_status on_value(struct reader *r, const yaml_event_t *e) {
  const char *text = (const char *)e->data.scalar.value;
  if (r->key == KEY_THREADS) return read_threads(r, e);
  if (r->key == KEY_LAYOUT) return read_layout(r, e);
  if (strlen(text) != e->data.scalar.length || !*text)
    return at(r, &e->start_mark, "expected a pattern");
  const char *copy = arena_strdup(&r->pins->arena, text);
  bool ok = copy != NULL;
  if (r->key == KEY_NODE) r->pin.node = copy;
  if (r->key == KEY_OP) r->pin.op = copy;
  if (r->key == KEY_USE) ok = ok && VEC_PUSH(&r->pin.use, copy);
  if (r->key == KEY_AVOID) ok = ok && VEC_PUSH(&r->pin.avoid, copy);
  return ok ? FVM_OK : fvm_nomem(r->err);
}

/* ---- structure ---- */

static enum fvm_status on_scalar(struct reader *r, const yaml_event_t *e) {
  if (r->place == OUTSIDE || r->place == IN_LIST) {
    bool nothing = r->place == OUTSIDE && e->data.scalar.length == 0; /* a file of comments */
    return nothing ? FVM_OK : at(r, &e->start_mark, "expected a list of pins: '- node: PATTERN'");
  }
  if (r->place == IN_PIN && r->key == KEY_COUNT) return on_key(r, e);
  enum fvm_status st = on_value(r, e);
  if (r->place == IN_PIN) r->key = KEY_COUNT;
  return st;
}

static enum fvm_status begin_pin(struct reader *r, const yaml_event_t *e) {
  if (r->place != IN_LIST)
    return at(r, &e->start_mark,
              r->place == OUTSIDE ? "expected a list of pins: put '- ' before each of them"
                                  : "a mapping cannot be the value of a pin's key");
  r->place = IN_PIN;
  r->key = KEY_COUNT;
  r->seen = 0;
  r->pin = (struct pin){.layout = LAYOUT_COUNT, .line = e->start_mark.line + 1};
  return FVM_OK;
}

static enum fvm_status end_pin(struct reader *r, const yaml_event_t *e) {
  const unsigned where = 1u << KEY_NODE | 1u << KEY_OP;
  yaml_mark_t m = e->start_mark;
  m.line = r->pin.line - 1;
  m.column = 0;
  if (!(r->seen & where)) return at(r, &m, "a pin needs 'node' or 'op': which nodes it is for");
  if (!(r->seen & ~where))
    return at(r, &m, "a pin needs 'use', 'avoid', 'threads' or 'layout': what to do there");
  if ((r->seen >> KEY_USE & 1 && !r->pin.use.n) || (r->seen >> KEY_AVOID & 1 && !r->pin.avoid.n))
    return at(r, &m, "'use' and 'avoid' need a pattern at least");
  r->place = IN_LIST;
  if (!VEC_PUSH(&r->pins->pin, r->pin)) return fvm_nomem(r->err);
  r->pin = (struct pin){0};
  return FVM_OK;
}

static enum fvm_status begin_list(struct reader *r, const yaml_event_t *e) {
  if (r->place == OUTSIDE) {
    r->place = IN_LIST;
    return FVM_OK;
  }
  if (r->place != IN_PIN || (r->key != KEY_USE && r->key != KEY_AVOID))
    return at(r, &e->start_mark, "a list can only be the value of 'use' or 'avoid'");
  r->place = IN_VALUES;
  return FVM_OK;
}

static void end_list(struct reader *r) {
  r->place = r->place == IN_VALUES ? IN_PIN : OUTSIDE;
  r->key = KEY_COUNT;
}

static enum fvm_status on_event(struct reader *r, const yaml_event_t *e) {
  switch (e->type) {
  case YAML_SCALAR_EVENT:
    return on_scalar(r, e);
  case YAML_MAPPING_START_EVENT:
    return begin_pin(r, e);
  case YAML_MAPPING_END_EVENT:
    return end_pin(r, e);
  case YAML_SEQUENCE_START_EVENT:
    return begin_list(r, e);
  case YAML_SEQUENCE_END_EVENT:
    end_list(r);
    return FVM_OK;
  case YAML_ALIAS_EVENT:
    return at(r, &e->start_mark, "aliases are not supported");
  default:
    return FVM_OK;
  }
}

static enum fvm_status read_events(struct reader *r, yaml_parser_t *parser) {
  for (bool end = false; !end;) {
    yaml_event_t e;
    if (!yaml_parser_parse(parser, &e))
      return at(r, &parser->problem_mark, parser->problem ? parser->problem : "not YAML");
    enum fvm_status st = on_event(r, &e);
    end = e.type == YAML_STREAM_END_EVENT;
    yaml_event_delete(&e);
    if (st != FVM_OK) return st;
  }
  return FVM_OK;
}

/* From a file or, where that is NULL, from a text. */
static enum fvm_status read_pins(FILE *f, const char *text, size_t len, const char *path,
                                 struct pins **pins, struct fvm_error *err) {
  yaml_parser_t parser;
  struct reader r = {.pins = fvm_alloc(1, sizeof(struct pins)), .err = err};
  *pins = NULL;
  if (r.pins) r.pins->path = arena_strdup(&r.pins->arena, path);
  if (!r.pins || !r.pins->path || !yaml_parser_initialize(&parser)) {
    pins_free(r.pins);
    return fvm_nomem(err);
  }
  if (f)
    yaml_parser_set_input_file(&parser, f);
  else
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
  enum fvm_status st = read_events(&r, &parser);
  yaml_parser_delete(&parser);
  if (st == FVM_OK) {
    *pins = r.pins;
    return FVM_OK;
  }
  VEC_FREE(&r.pin.use);
  VEC_FREE(&r.pin.avoid);
  pins_free(r.pins);
  return st;
}

enum fvm_status pins_parse(const char *text, size_t len, const char *path, struct pins **pins,
                           struct fvm_error *err) {
  return read_pins(NULL, text, len, path, pins, err);
}

enum fvm_status pins_read(const char *path, struct pins **pins, struct fvm_error *err) {
  FILE *f = fopen(path, "r");
  if (!f) return fvm_fail(err, FVM_EUSAGE, "--pin %s: cannot be read (%s)", path, strerror(errno));
  enum fvm_status st = read_pins(f, NULL, 0, path, pins, err);
  fclose(f);
  return st;
}
