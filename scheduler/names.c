/* Open addressing with linear probing, at most half full. */
#include "names.h"

#include <string.h>

static struct name_slot *place(const struct names *t, const char *name) {
  size_t i = fvm_hash(name, strlen(name), 0) & (t->cap - 1);
  while (t->slot[i].name && strcmp(t->slot[i].name, name) != 0) i = (i + 1) & (t->cap - 1);
  return &t->slot[i];
}

int names_find(const struct names *t, const char *name) {
  if (t->cap == 0) return -1;
  const struct name_slot *s = place(t, name);
  return s->name ? s->value : -1;
}

static bool grow(struct names *t) {
  struct names big = {.cap = MAX(t->cap * 2, (size_t)64), .n = t->n};
  big.slot = fvm_alloc(big.cap, sizeof *big.slot);
  if (!big.slot) return false;
  for (size_t i = 0; i < t->cap; i++)
    if (t->slot[i].name) *place(&big, t->slot[i].name) = t->slot[i];
  names_free(t);
  *t = big;
  return true;
}

bool names_add(struct names *t, const char *name, int value) {
  if (2 * (t->n + 1) > t->cap && !grow(t)) return false;
  *place(t, name) = (struct name_slot){name, value};
  t->n++;
  return true;
}

void names_free(struct names *t) {
  fvm_free(t->slot, t->cap, sizeof *t->slot);
  *t = (struct names){0};
}
