/* What pins cover and allow. Contract: pin.h. */
#include "config.h" /* _GNU_SOURCE, for FNM_CASEFOLD */

#include "pin.h"

#include <fnmatch.h>
#include <string.h>

#include "../vm/slots.h"

static bool matches(const char *pattern, const char *text, int flags) {
  return fnmatch(pattern, text, flags) == 0;
}

/* Most patterns of a long file are plain names. */
static bool is_name(const char *pattern) { return !pattern[strcspn(pattern, "*?[\\")]; }

bool pin_covers(const struct pin *p, const struct node *n) {
  if (p->exact && strcmp(p->exact, n->name) != 0) return false;
  if (p->except && !strcmp(p->except, n->name)) return false;
  if (p->node && is_name(p->node) ? strcmp(p->node, n->name) != 0
                                  : p->node && !matches(p->node, n->name, 0))
    return false;
  return !p->op || matches(p->op, n->op->name, FNM_CASEFOLD);
}

/* Whether the text, or its first word, matches one of n patterns. */
static bool matches_any(const char *const *pattern, size_t n, const char *text) {
  char word[64];
  size_t len = strcspn(text, " ");
  CHECK(len < sizeof word); /* names of candidates are short */
  memcpy(word, text, len);
  word[len] = 0;
  for (size_t i = 0; i < n; i++)
    if (matches(pattern[i], text, FNM_CASEFOLD) || matches(pattern[i], word, FNM_CASEFOLD))
      return true;
  return false;
}

bool pin_allows(const struct pin *p, const char *text, const struct label *l) {
  if (p->label && strcmp(p->label, text) != 0) return false;
  if (p->threads && !l->view && l->threads != p->threads) return false;
  if (p->layout != LAYOUT_COUNT && label_out(l, 0) != p->layout) return false;
  if (p->use.n && !matches_any(p->use.v, p->use.n, text)) return false;
  return !matches_any(p->avoid.v, p->avoid.n, text);
}

static bool covers_any(const struct pin *p, const struct graph *g) {
  for (size_t i = 0; i < g->node.n; i++)
    if (!g->node.v[i].dead && pin_covers(p, &g->node.v[i])) return true;
  return false;
}

static const char *nearest_node(const struct graph *g, const char *name) {
  const char *best = NULL;
  for (size_t i = 0; i < g->node.n; i++) {
    const struct node *n = &g->node.v[i];
    if (!n->dead && (!best || name_distance(name, n->name) < name_distance(name, best)))
      best = n->name;
  }
  return best;
}

/* What a pin asks for: "node 'a*'", "node 'a*' with operator 'Conv'". */
static void put_wish(const struct pin *p, struct text *out) {
  text_printf(out, "no node");
  if (p->node) text_printf(out, " '%.100s'", p->node);
  if (p->op) text_printf(out, " with operator '%.40s'", p->op);
}

enum fvm_status pins_check(const struct pins *p, const struct graph *g, struct fvm_error *err) {
  for (size_t i = 0; i < p->pin.n; i++) {
    const struct pin *pin = &p->pin.v[i];
    if (pin->except || covers_any(pin, g)) continue;
    struct text t = {0};
    put_wish(pin, &t);
    const char *near = pin->node && is_name(pin->node) ? nearest_node(g, pin->node) : NULL;
    text_printf(&t, " is left after the passes");
    if (near) text_printf(&t, "; did you mean '%.100s'?", near);
    enum fvm_status st =
        t.failed ? fvm_nomem(err)
                 : fvm_fail(err, FVM_EFORMAT, "%.100s:%zu: %s%s 'fluidvm dump MODEL' lists them",
                            p->path, pin->line, t.v, near ? "" : ";");
    text_free(&t);
    return st;
  }
  return FVM_OK;
}

void pins_free(struct pins *p) {
  if (!p) return;
  for (size_t i = 0; i < p->pin.n; i++) {
    VEC_FREE(&p->pin.v[i].use);
    VEC_FREE(&p->pin.v[i].avoid);
  }
  VEC_FREE(&p->pin);
  arena_free(&p->arena);
  fvm_free(p, 1, sizeof *p);
}

/* The first n bytes of a text as a pattern that matches nothing else, in the double quotes of YAML.
 */
static void put_pattern(const char *text, size_t n, struct text *out) {
  text_printf(out, "\"");
  for (const char *s = text; s < text + n; s++) {
    unsigned char c = (unsigned char)*s;
    if (strchr("*?[", c))
      text_printf(out, "\\\\%c", c);
    else if (c == '\\')
      text_printf(out, "\\\\\\\\");
    else if (c == '"')
      text_printf(out, "\\\"");
    else if (c < ' ' || c == 127)
      text_printf(out, "\\x%02x", c);
    else
      text_printf(out, "%c", c);
  }
  text_printf(out, "\"");
}

static void put_pin(const char *node, size_t n, const char *label, struct text *out) {
  text_printf(out, "- node: ");
  put_pattern(node, n, out);
  text_printf(out, "\n  use: ");
  put_pattern(label, strlen(label), out);
  text_printf(out, "\n");
}

/* A chain's label is one of both nodes. */
void pin_print(const char *node, const char *label, struct text *out) {
  static const char plus[] = " + ";
  const char *at = strncmp(label, "chain_", 6) ? NULL : strstr(node, plus);
  if (at) put_pin(node, (size_t)(at - node), label, out);
  if (at) node = at + strlen(plus);
  put_pin(node, strlen(node), label, out);
}
