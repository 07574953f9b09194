/* From names to small integers: which tensor has that name. The table refers to the names it is
 * given and doesn't copy them. */
#ifndef FVM_NAMES_H
#define FVM_NAMES_H

#include "../vm/base.h"

struct name_slot {
  const char *name; /* NULL: free */
  uint32_t hash;
  int value;
};
struct names {
  struct name_slot *slot;
  size_t n, cap; /* cap is 0 or a power of two */
};

/* The value of a name, or -1. */
int names_find(const struct names *t, const char *name);
/* Of the name's first n bytes. */
int names_find_part(const struct names *t, const char *name, size_t n);
/* Enter a name that isn't there yet; false when memory is out. */
bool names_add(struct names *t, const char *name, int value);
void names_free(struct names *t);

#endif
