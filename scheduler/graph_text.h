/* What writer and reader of the graph's text form agree on. */
#ifndef FVM_GRAPH_TEXT_H
#define FVM_GRAPH_TEXT_H

#include "graph.h"

/* One attribute, with a blank in front. */
void graph_dump_attr(struct text *out, const struct attr *a);

/* Constants up to here are written in full. */
enum { GRAPH_TEXT_MAXDATA = 16 };

/* Characters of a name that needs no quotes. */
#define GRAPH_NAME_CHAR(c)                                                                         \
  (((c) >= 'a' && (c) <= 'z') || ((c) >= 'A' && (c) <= 'Z') || ((c) >= '0' && (c) <= '9') ||       \
   (c) == '_' || (c) == '.' || (c) == '/')

#endif
