/* Open addressing with linear probing, at most half full. */
#include "names.h"

#include <string.h>

static uint32_t hash_of(const char *name, size_t n) { return (uint32_t)fvm_hash(name, n, 0); }

static bool is_called(const struct name_slot *s, const char *name, size_t n) {
  return !strncmp(s->name, name, n) && !s->name[n];
}

/* Of a name of n bytes. */
static struct name_slot *place(const struct names *t, const char *name, size_t n, uint32_t hash) {
  size_t i = hash & (t->cap - 1);
  while (t->slot[i].name && (t->slot[i].hash != hash || !is_called(&t->slot[i], name, n)))
    i = (i + 1) & (t->cap - 1);
  return &t->slot[i];
}

int names_find_part(const struct names *t, const char *name, size_t n) {
  if (t->cap == 0) return -1;
  const struct name_slot *s = place(t, name, n, hash_of(name, n));
  return s->name ? s->value : -1;
}

int names_find(const struct names *t, const char *name) {
  return names_find_part(t, name, strlen(name));
}

static bool grow(struct names *t) {
  struct names big = {.cap = MAX(t->cap * 2, (size_t)64), .n = t->n};
  big.slot = fvm_alloc(big.cap, sizeof *big.slot);
  if (!big.slot) return false;
  for (size_t i = 0; i < t->cap; i++) { /* no two of them are equal: nothing to compare */
    if (!t->slot[i].name) continue;
    size_t to = t->slot[i].hash & (big.cap - 1);
    while (big.slot[to].name) to = (to + 1) & (big.cap - 1);
    big.slot[to] = t->slot[i];
  }
  names_free(t);
  *t = big;
  return true;
}

bool names_add(struct names *t, const char *name, int value) {
  if (2 * (t->n + 1) > t->cap && !grow(t)) return false;
  size_t n = strlen(name);
  uint32_t hash = hash_of(name, n);
  *place(t, name, n, hash) = (struct name_slot){name, hash, value};
  t->n++;
  return true;
}

void names_free(struct names *t) {
  fvm_free(t->slot, t->cap, sizeof *t->slot);
  *t = (struct names){0};
}
