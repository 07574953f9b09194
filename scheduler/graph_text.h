/* What writer and reader of the graph's text form agree on. */
#ifndef FVM_GRAPH_TEXT_H
#define FVM_GRAPH_TEXT_H

/* Constants up to here are written in full. */
enum { GRAPH_TEXT_MAXDATA = 16 };

/* Characters of a name that needs no quotes. */
#define GRAPH_NAME_CHAR(c)                                                                         \
  (((c) >= 'a' && (c) <= 'z') || ((c) >= 'A' && (c) <= 'Z') || ((c) >= '0' && (c) <= '9') ||       \
   (c) == '_' || (c) == '.' || (c) == '/')

#endif
