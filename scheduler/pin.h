/* Pins: labels that the user forces or forbids, by pattern of node (--pin FILE). The file is a list
 * in YAML; every pin names nodes, and what their labels must be:
 *
 *   - node: "conv1*"        # shell pattern on the node's name after the passes; and, or instead,
 *     op: Conv              # on its operator
 *     use: "conv_direct*"   # only labels that match this pattern, or one of a list
 *     avoid: [a, "*=48 *"]  # no label that matches one of these
 *     threads: 1            # only labels of so many threads; views have none and stay
 *     layout: nhwc          # only labels that make their output in that layout
 *
 * Patterns of labels and operators ignore case. A label is matched by its text, as `explain` and
 * `dump` print it, or by its first word, the algorithm, alone. */
#ifndef FVM_PIN_H
#define FVM_PIN_H

#include "graph.h"

struct pin {
  const char *node, *op; /* patterns; NULL: any */
  VEC(const char *) use, avoid;
  int threads;        /* 0: any */
  enum layout layout; /* LAYOUT_COUNT: any */
  size_t line;        /* in its file; 0: none */
  /* Of the planner's own pins only. */
  const char *exact;  /* the name of the node; NULL: any */
  const char *except; /* the name of a node that is not covered after all; NULL: none */
  const char *label;  /* the text of the label; NULL: any */
};
struct pins {
  struct arena arena; /* texts */
  const char *path;
  VEC(struct pin) pin;
};

/* From a file or from a text, which the errors call `path` (pin_read.c). */
enum fvm_status pins_read(const char *path, struct pins **pins, struct fvm_error *err);
enum fvm_status pins_parse(const char *text, size_t len, const char *path, struct pins **pins,
                           struct fvm_error *err);
void pins_free(struct pins *p);

bool pin_covers(const struct pin *p, const struct node *n);
/* text: that of the label. */
bool pin_allows(const struct pin *p, const char *text, const struct label *l);
/* Every pin covers a live node, or FVM_EFORMAT. */
enum fvm_status pins_check(const struct pins *p, const struct graph *g, struct fvm_error *err);

/* Append a pin for one node and one label, as an item of a file; of a chain ("FIRST + SECOND"), one
 * for each. */
void pin_print(const char *node, const char *label, struct text *out);

#endif
